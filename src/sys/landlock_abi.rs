//! Which version of Landlock the running kernel has; its crate asks too, but does not tell.

/// The ABI number, from 1 on; 0 where Landlock is absent or switched off.
pub fn landlock_abi() -> i32 {
    // `LANDLOCK_CREATE_RULESET_VERSION`, landlock_create_ruleset(2).
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the call takes a null pointer and a zero size, and answers a number.
    let abi = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) };
    i32::try_from(abi.max(0)).unwrap_or(0)
}
