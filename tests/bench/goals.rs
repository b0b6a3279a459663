//! What we hold ourselves to, and whether a run has reached it.

/// A figure that a row must reach.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// Processor time, memory: at most this share of the other side's.
    Share(f64),
    /// Throughput: at least so many times the other side's.
    Times(f64),
    /// At most this, whatever the other side needs.
    AtMost(f64),
}

const GOALS: &[(&str, Goal)] = &[
    ("get, aes128-gcm: server CPU", Goal::Share(0.50)),
    ("put, aes128-gcm: server CPU", Goal::Share(0.42)),
    ("get, chacha20-poly1305: server CPU", Goal::Share(0.65)),
    ("put, chacha20-poly1305: server CPU", Goal::Share(0.60)),
    ("get, aes128-gcm: throughput", Goal::Times(1.6)),
    ("put, aes128-gcm: throughput", Goal::Times(2.0)),
    ("get, 4 KiB files: server CPU", Goal::Share(0.5)),
    ("put, 4 KiB files: server CPU", Goal::Share(0.5)),
    ("list 100000 entries: time", Goal::Share(0.5)),
    ("list 100000 entries: server CPU", Goal::Share(0.5)),
    ("login after 8 MiB each way: memory (PSS)", Goal::AtMost(400.0)),
    ("ready, p50", Goal::AtMost(2.0)),
    ("ready, p95", Goal::AtMost(5.0)),
    ("ready among 1,000 more mounts of the host, p50", Goal::AtMost(2.0)),
    ("ready among 1,000 more mounts of the host, p95", Goal::AtMost(5.0)),
    ("from revoking to the end of the last process", Goal::AtMost(50.0)),
];

/// The goal of a row and what became of it. Every row has one: to be no worse than the other side.
pub(crate) fn judge(row: &str, value: Option<f64>, better: Option<f64>) -> String {
    let goal = GOALS.iter().find(|(name, _)| *name == row).map(|(_, goal)| *goal);
    let verdict = |is_met: bool| if is_met { "met" } else { "**missed**" };
    match (goal, value, better) {
        (Some(Goal::AtMost(most)), Some(value), _) => format!("at most {most}: {}", verdict(value <= most)),
        (Some(Goal::Share(share)), _, Some(better)) => {
            format!("at most {share:.2} x: {:.2} x, {}", 1.0 / better, verdict(1.0 / better <= share))
        }
        (Some(Goal::Times(times)), _, Some(better)) => {
            format!("at least {times:.1} x: {}", verdict(better >= times))
        }
        (None, _, Some(better)) if better < 1.0 => "no worse: **missed**".to_owned(),
        _ => String::new(),
    }
}
