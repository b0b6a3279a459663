//! Modes and size of a terminal (RFC 4254, 8).

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::termios::{
    ControlModes, InputModes, LocalModes, OptionalActions, OutputModes, SpecialCodeIndex, Termios, Winsize,
};

use crate::wire::Size;

/// Special characters by opcode.
const CHARACTERS: &[(u8, SpecialCodeIndex)] = &[
    (1, SpecialCodeIndex::VINTR),
    (2, SpecialCodeIndex::VQUIT),
    (3, SpecialCodeIndex::VERASE),
    (4, SpecialCodeIndex::VKILL),
    (5, SpecialCodeIndex::VEOF),
    (6, SpecialCodeIndex::VEOL),
    (7, SpecialCodeIndex::VEOL2),
    (8, SpecialCodeIndex::VSTART),
    (9, SpecialCodeIndex::VSTOP),
    (10, SpecialCodeIndex::VSUSP),
    (12, SpecialCodeIndex::VREPRINT),
    (13, SpecialCodeIndex::VWERASE),
    (14, SpecialCodeIndex::VLNEXT),
    (18, SpecialCodeIndex::VDISCARD),
];

const INPUT: &[(u8, InputModes)] = &[
    (30, InputModes::IGNPAR),
    (31, InputModes::PARMRK),
    (32, InputModes::INPCK),
    (33, InputModes::ISTRIP),
    (34, InputModes::INLCR),
    (35, InputModes::IGNCR),
    (36, InputModes::ICRNL),
    (37, InputModes::IUCLC),
    (38, InputModes::IXON),
    (39, InputModes::IXANY),
    (40, InputModes::IXOFF),
    (41, InputModes::IMAXBEL),
    (42, InputModes::IUTF8),
];

const LOCAL: &[(u8, LocalModes)] = &[
    (50, LocalModes::ISIG),
    (51, LocalModes::ICANON),
    (52, LocalModes::XCASE),
    (53, LocalModes::ECHO),
    (54, LocalModes::ECHOE),
    (55, LocalModes::ECHOK),
    (56, LocalModes::ECHONL),
    (57, LocalModes::NOFLSH),
    (58, LocalModes::TOSTOP),
    (59, LocalModes::IEXTEN),
    (60, LocalModes::ECHOCTL),
    (61, LocalModes::ECHOKE),
    (62, LocalModes::PENDIN),
];

const OUTPUT: &[(u8, OutputModes)] = &[
    (70, OutputModes::OPOST),
    (71, OutputModes::OLCUC),
    (72, OutputModes::ONLCR),
    (73, OutputModes::OCRNL),
    (74, OutputModes::ONOCR),
    (75, OutputModes::ONLRET),
];

const CONTROL: &[(u8, ControlModes)] =
    &[(90, ControlModes::CS7), (91, ControlModes::CS8), (92, ControlModes::PARENB), (93, ControlModes::PARODD)];

/// The value that switches a special character off.
const NO_CHARACTER: u32 = 255;

/// Sets what the client asked for; opcodes that we do not know, and speeds, stay as they are.
pub(super) fn set(terminal: impl AsFd, wanted: &[(u8, u32)]) -> Result<(), Errno> {
    let mut modes = rustix::termios::tcgetattr(&terminal)?;
    for (opcode, value) in wanted {
        apply(&mut modes, *opcode, *value);
    }
    rustix::termios::tcsetattr(&terminal, OptionalActions::Now, &modes)
}

fn apply(modes: &mut Termios, opcode: u8, value: u32) {
    let on = value != 0;
    if let Some((_, index)) = CHARACTERS.iter().find(|(o, _)| *o == opcode) {
        // POSIX has 0 for "none" on Linux, the RFC 255.
        modes.special_codes[*index] = if value == NO_CHARACTER { 0 } else { u8::try_from(value).unwrap_or(0) };
    } else if let Some((_, mode)) = INPUT.iter().find(|(o, _)| *o == opcode) {
        modes.input_modes.set(*mode, on);
    } else if let Some((_, mode)) = LOCAL.iter().find(|(o, _)| *o == opcode) {
        modes.local_modes.set(*mode, on);
    } else if let Some((_, mode)) = OUTPUT.iter().find(|(o, _)| *o == opcode) {
        modes.output_modes.set(*mode, on);
    } else if let Some((_, mode)) = CONTROL.iter().find(|(o, _)| *o == opcode) {
        set_control(modes, *mode, on);
    }
}

/// The sizes of a character are values of one field, of which `CS7` is a part of `CS8`.
fn set_control(modes: &mut Termios, mode: ControlModes, on: bool) {
    match mode {
        ControlModes::CS7 | ControlModes::CS8 if on => {
            modes.control_modes.remove(ControlModes::CSIZE);
            modes.control_modes.insert(mode);
        }
        ControlModes::CS7 | ControlModes::CS8 => {}
        mode => modes.control_modes.set(mode, on),
    }
}

/// Gives the terminal a size; whoever runs on it hears of it (SIGWINCH).
pub(super) fn resize(terminal: impl AsFd, size: Size) -> Result<(), Errno> {
    let Size { columns, rows, width, height } = size;
    rustix::termios::tcsetwinsize(
        terminal,
        Winsize { ws_row: rows, ws_col: columns, ws_xpixel: width, ws_ypixel: height },
    )
}
