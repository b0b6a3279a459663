//! The server's promises, tested from outside: the binary as it is shipped, and the clients that people have.
//!
//! One file per promise. A test that needs a server as root stands in a module `as_root`; the same promise kept by a
//! server of an ordinary user stands beside it in `rootless` and runs on every run: a root test run drops to another
//! user for it. Run them by `tests/run`, which installs the clients and says which groups were left out.
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[macro_use]
mod harness;

mod abuse;
mod audit;
mod clients;
mod confinement;
mod credentials;
mod deploy;
mod doctor;
mod escapes;
mod explained;
mod faults;
mod first_run;
mod forwards;
mod hostile;
mod hygiene;
mod limits;
mod login;
mod moving;
mod nodes;
mod programs;
mod restart;
mod storm;
mod systemd;
mod tools;
mod transfer;
mod upgrade;
mod uploads;
mod views;
