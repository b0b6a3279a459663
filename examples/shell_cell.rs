//! Tries a shell cell by hand.
use enclos::cell::Privilege;
use enclos::cell::shell::{Limits, Own, ShellZygote};
use enclos::domain::Layout;
use enclos::sys::Forked;
use std::os::fd::OwnedFd;
fn main() {
    let privilege = Privilege::establish().expect("privilege");
    let program: OwnedFd = std::fs::File::open("/bin/bash").expect("bash").into();
    let zygote = ShellZygote::prepare(privilege, &program).expect("prepare");
    let own = Own {
        user: "bob".into(),
        group: "acme".into(),
        ids: (200_001, 200_001),
        home: "/home/bob".into(),
        shell: "/bin/bash".into(),
        hostname: "cell".into(),
        places: vec!["home/bob".into(), "srv/acme/www".into()],
        binds: vec![],
        network: enclos::domain::Network::Own,
        scratch: 65536,
    };
    let out = std::fs::File::options().write(true).open("/proc/self/fd/1").ok();
    let text = std::env::args().nth(1).unwrap_or("id".into());
    let start = std::time::Instant::now();
    match zygote.fork(enclos::domain::Network::Own, None).expect("fork") {
        Forked::Child => {
            let _ns =
                zygote.enter(&own, &[]).map_err(|e| format!("{e} {:?}", std::error::Error::source(&e))).expect("enter");
            eprintln!("ready after {:?}", start.elapsed());
            let layout = Layout { placed: vec![], start: "/".into(), home: "/".into() };
            let link: OwnedFd = std::io::stdout().try_clone_to_owned();
            let text = std::ffi::CString::new(format!("exec >&3 2>&3; {text}")).expect("text");
            let error = zygote
                .begin(&own, &layout, Limits { processes: 1000, descriptors: 1024 }, &link, &[c"bash", c"-c", &text])
                .expect_err("never");
            eprintln!("{error} {:?}", std::error::Error::source(&error));
        }
        Forked::Parent { pid, .. } => {
            drop((pid, out));
            let s = rustix::process::wait(rustix::process::WaitOptions::empty());
            eprintln!("{s:?}");
        }
    }
}
trait Dup {
    fn try_clone_to_owned(&self) -> OwnedFd;
}
impl Dup for std::io::Stdout {
    fn try_clone_to_owned(&self) -> OwnedFd {
        rustix::io::fcntl_dupfd_cloexec(self, 20).expect("dup")
    }
}
