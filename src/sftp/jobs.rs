//! Requests that take long: copies inside the server and checksums. Each is served a part at a time, between the requests
//! that came after it, and answered when it is done. What follows on a handle that such a request uses waits for it, so
//! that the order on a handle is that of the client.

use std::collections::VecDeque;

use super::answer;
use super::checksum::{Checked, Checksum};
use super::codes;
use super::engine::{Engine, Totals};
use super::failure::Failure;
use super::reader::{Reader, Short};
use crate::files::{Copied, Copy, File};

/// Most of them that are served at the same time; each holds up to two descriptors.
const MOST: usize = 8;

/// What is being done.
#[derive(Debug)]
pub(super) enum Work {
    /// A copy, and the file that is made by it and that no handle stands for.
    Copy(Box<Copy>, Option<File>),
    /// A checksum.
    Checksum(Box<Checksum>),
}

/// One request that takes long.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) id: u32,
    /// The handles that it uses, as the client names them; of a copy the target is the last.
    pub(super) handles: Vec<Vec<u8>>,
    pub(super) work: Work,
}

/// Whether a job goes on.
enum Step {
    More,
    Done,
}

impl Job {
    fn step(&mut self, totals: &mut Totals, out: &mut Vec<u8>) -> Result<Step, Failure> {
        match &mut self.work {
            Work::Copy(copy, made) => match copy.step()? {
                Copied::Part(bytes) => {
                    totals.written = totals.written.saturating_add(bytes);
                    return Ok(Step::More);
                }
                Copied::All(bytes) => {
                    totals.written = totals.written.saturating_add(bytes);
                    made.take().map_or(Ok(()), File::close)?;
                    answer::done(out, self.id);
                }
                Copied::Short => return Err(Failure::SourceEnded),
            },
            Work::Checksum(checksum) => match checksum.step()? {
                Checked::Part => return Ok(Step::More),
                Checked::All => checksum.answer(self.id, out),
            },
        }
        Ok(Step::Done)
    }
}

/// All that are not done, the next one first.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    waiting: VecDeque<Job>,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a request must wait: it is about a handle in use, or there are as many jobs as may be.
    pub(super) fn hold_up(&self, packet: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let Ok((kind, named)) = handles(packet) else { return false };
        let is_full = kind == codes::EXTENDED && self.waiting.len() >= MOST;
        let is_used = |handle: &[u8]| self.waiting.iter().flat_map(|job| &job.handles).any(|used| used == handle);
        is_full || named.into_iter().any(is_used)
    }
}

/// The kind of a request, and the handles that it names.
fn handles(packet: &[u8]) -> Result<(u8, Vec<&[u8]>), Short> {
    let mut reader = Reader::new(packet);
    let kind = reader.u8()?;
    reader.u32()?;
    let named = match kind {
        codes::CLOSE | codes::READ | codes::WRITE | codes::FSTAT | codes::FSETSTAT | codes::READDIR => {
            vec![reader.string()?]
        }
        codes::EXTENDED => match reader.string()? {
            b"fsync@openssh.com" | b"fstatvfs@openssh.com" | b"check-file-handle" | b"check-file" => {
                vec![reader.string()?]
            }
            b"copy-data" => {
                let (from, _, _) = (reader.string()?, reader.u64()?, reader.u64()?);
                vec![from, reader.string()?]
            }
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    Ok((kind, named))
}

impl Engine {
    /// Does the first part of a job, and the second, in which most find that there is no more.
    pub(super) fn begin(&mut self, mut job: Job, out: &mut Vec<u8>) -> Result<(), Failure> {
        for _ in 0..2 {
            if let Step::Done = self.step(&mut job, out)? {
                return Ok(());
            }
        }
        self.jobs.waiting.push_back(job);
        Ok(())
    }

    fn step(&mut self, job: &mut Job, out: &mut Vec<u8>) -> Result<Step, Failure> {
        job.step(&mut self.totals, out).inspect_err(|_| match (&job.work, job.handles.last()) {
            (Work::Copy(_, Some(made)), _) => made.note_failure(),
            (Work::Copy(_, None), Some(target)) => {
                if let Ok(target) = self.handles.file(target) {
                    target.note_failure();
                }
            }
            _ => {}
        })
    }

    /// Whether a request is being served a part at a time. If so, [`Engine::work`] goes on with it, and then
    /// [`Engine::resume`] with what waited for it.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Does a part of one request that takes long, some milliseconds; if that was the last one, appends the answer.
    pub fn work(&mut self, out: &mut Vec<u8>) {
        let Some(mut job) = self.jobs.waiting.pop_front() else { return };
        let before = out.len();
        match self.step(&mut job, out) {
            Ok(Step::More) => self.jobs.waiting.push_back(job),
            Ok(Step::Done) => {}
            Err(failure) => {
                out.truncate(before);
                failure.answer(job.id, out);
            }
        }
    }
}
