//! What our side of the SSH library's callbacks keeps, and how channels begin and end.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use russh::ChannelId;
use russh::server::Session;
use tokio::task::JoinHandle;

use super::forwards::Listening;
use super::wishes::{HandleSink, Wishes};
use super::{STDERR, SshError};
use crate::domain::{Deed, PeerText, Started, Terminals};
use crate::session::Error;
use crate::session::asked::{self, Asked, Given};
use crate::session::channels::{Channel, Channels};
use crate::session::forwards::Forwards;
use crate::session::greeting;
use crate::session::invitation;
use crate::session::login::{Access, Client};
use crate::session::programs::{self, Program, Sink};
use crate::session::sftp_channel::{Outlet, SftpChannel, Stopped, Waiting};
use crate::session::surroundings::Surroundings;
use crate::session::windows::{Pile, Windows};
use crate::sftp::LinkOrder;
use crate::wire::{self, Ended, Event, Start};

/// Input of one program, or of all forwards, beyond which no window is opened any more.
const MOST_PILED: usize = 32 * 1024 * 1024;

/// Our side of the library's callbacks.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) surroundings: Surroundings,
    pub(super) channels: Channels,
    pub(super) forwards: Forwards,
    pub(super) listening: Listening,
    /// Channels that we have closed and still count.
    finished: Vec<ChannelId>,
    /// Channels that tasks serve, and may close.
    own_end: Vec<ChannelId>,
    /// How far the windows of the channels are opened.
    pub(super) windows: Windows,
    /// What was asked for a program that is not asked for yet.
    pub(super) wishes: BTreeMap<u32, Wishes>,
}

/// A channel of the library, as an outlet for answers.
pub(super) struct ChannelOutlet<'a> {
    pub(super) id: ChannelId,
    pub(super) session: &'a mut Session,
}

impl Outlet for ChannelOutlet<'_> {
    fn send(&mut self, bytes: Bytes) -> Result<(), SshError> {
        self.session.data(self.id, bytes)
    }

    /// The library takes from its queue, which is short, when what it took before has been written.
    fn send_later(&self, mut waiting: Waiting) -> JoinHandle<()> {
        let (id, handle) = (self.id, self.session.handle());
        tokio::spawn(async move {
            while let Some(answers) = waiting.next().await {
                waiting.take_turn(answers.len()).await;
                if answers.is_empty() {
                    // A large file is being copied or read: everything else on the connection comes first.
                    tokio::task::yield_now().await;
                } else if handle.data(id, answers).await.is_err() {
                    return;
                }
            }
            if waiting.ends_the_channel() {
                HandleSink { id, handle }.finish(Ended::Exit(0)).await;
            }
        })
    }
}

pub(super) fn number(id: ChannelId) -> u32 {
    id.into()
}

impl Connection {
    pub(super) fn new(client: Client, surroundings: Surroundings) -> Connection {
        Connection {
            client,
            surroundings,
            channels: Channels::default(),
            forwards: Forwards::default(),
            listening: Listening::new(),
            finished: Vec::new(),
            own_end: Vec::new(),
            windows: Windows::default(),
            wishes: BTreeMap::new(),
        }
    }

    /// Answers a request for a program or a subsystem with what the client may have of it.
    pub(super) async fn begin(&mut self, id: ChannelId, asked: Asked<'_>, session: &mut Session) -> Result<(), Error> {
        let given = match self.client.access() {
            Some(Access::Granted(granted)) => asked::decide(asked, granted),
            Some(Access::Nothing(sentence)) => Given::Nothing(sentence.clone()),
            Some(Access::Invited(welcome, key)) => {
                let said = invitation::welcome(welcome, key, self.surroundings.port());
                return self.welcome(id, asked, &said, session);
            }
            None => return Err(SshError::NotAuthenticated.into()),
        };
        match given {
            Given::Sftp => self.begin_sftp(id, session).await,
            Given::Program(program) => self.begin_program(id, program, session).await,
            Given::Nothing(why) => self.refuse(id, asked.phrase(), &why, session).await,
        }
    }

    /// Tells somebody what the key is good for from now on; there is nothing else to be had on this connection.
    fn welcome(&mut self, id: ChannelId, asked: Asked<'_>, said: &str, session: &mut Session) -> Result<(), Error> {
        session.channel_success(id)?;
        let wishes = self.wishes.remove(&number(id)).unwrap_or_default();
        // A terminal is put into raw mode by the client.
        let said = if wishes.terminal.is_some() { said.replace('\n', "\r\n") } else { said.to_owned() };
        match asked {
            Asked::Shell | Asked::Command(_) => {
                session.data(id, said.into_bytes())?;
                self.finish(id, session, None, 0)
            }
            Asked::Sftp | Asked::Subsystem => self.finish(id, session, Some(&said), 1),
        }
    }

    /// Whether the user's programs get no terminal. Others are granted one also where no program will be: the client then
    /// shows the sentence that its request for one is answered with, and not a complaint about the terminal.
    pub(super) fn may_have_no_terminal(&self) -> bool {
        matches!(self.client.access(), Some(Access::Granted(granted)) if granted.programs.terminals == Terminals::Refused)
    }

    /// Answers with a sentence on standard error and exit status 1, which every client shows; a bare refusal would be
    /// reported as "request failed".
    async fn refuse(&mut self, id: ChannelId, what: &str, why: &str, session: &mut Session) -> Result<(), Error> {
        self.client.report(Event::Refused { what: what.to_owned(), why: why.to_owned() }).await;
        session.channel_success(id)?;
        self.finish(id, session, Some(why), 1)
    }

    /// Says a last sentence on standard error if there is one, the exit status, and closes.
    pub(super) fn finish(
        &mut self,
        id: ChannelId,
        session: &mut Session,
        sentence: Option<&str>,
        status: u32,
    ) -> Result<(), Error> {
        self.channels.set(number(id), Channel::Done);
        if let Some(sentence) = sentence {
            session.extended_data(id, STDERR, format!("{sentence}\r\n").into_bytes())?;
        }
        session.exit_status_request(id, status)?;
        session.eof(id)?;
        session.close(id)?;
        self.finished.push(id);
        Ok(())
    }

    /// Forgets channels that we have closed: the library reports no close that answers ours. It keeps a channel for as
    /// long as something waits for its window; until then it counts.
    pub(super) async fn forget_finished(&mut self, session: &mut Session) {
        let is_over = |id: &mut ChannelId| self.channels.is_over(number(*id));
        let over: Vec<ChannelId> = self.own_end.extract_if(.., is_over).collect();
        for id in &over {
            self.report_totals(*id).await;
        }
        self.finished.extend(over);
        let channels = &mut self.channels;
        self.finished.retain(|id| {
            let stays = session.has_pending_data(*id);
            if !stays {
                channels.close(number(*id));
            }
            stays
        });
    }

    async fn begin_sftp(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        let Some(Access::Granted(granted)) = self.client.access() else {
            return Err(SshError::NotAuthenticated.into());
        };
        match self.client.root(granted) {
            Ok(root) => {
                let links = LinkOrder::of_client(session.remote_sshid());
                let (ledger, traffic) = (self.client.ledger(), self.client.traffic());
                let window = self.channels.window(number(id)).cloned().unwrap_or_default();
                let sftp = SftpChannel::new(root, granted, self.client.umask(), links, ledger).within(window, traffic);
                self.channels.set(number(id), Channel::Sftp(Box::new(sftp)));
                self.own_end.push(id);
                session.channel_success(id)?;
                self.client.report(Event::SftpOpened).await;
                Ok(())
            }
            Err(error) => {
                session.channel_success(id)?;
                self.finish(id, session, Some(error.sentence()), 1)
            }
        }
    }

    async fn begin_program(
        &mut self,
        id: ChannelId,
        wanted: wire::Program,
        session: &mut Session,
    ) -> Result<(), Error> {
        session.channel_success(id)?;
        let Wishes { terminal, environment } = self.wishes.remove(&number(id)).unwrap_or_default();
        let has_terminal = terminal.is_some();
        let greeting = match (&wanted, self.client.access()) {
            (wire::Program::Shell, Some(Access::Granted(granted))) if has_terminal => {
                Some(greeting::greeting(self.surroundings.motd(), granted))
            }
            _ => None,
        };
        // As OpenSSH has it, a program that the client did not choose gets no signals of the client's choosing.
        let takes_signals = matches!(wanted, wire::Program::Shell | wire::Program::Command(_));
        // Ours first: of two with one name the first counts.
        let environment = [self.surroundings.variables(), environment].concat();
        let what = kind(&wanted);
        let start = Start { program: wanted, terminal, environment, greeting };
        let begun = match self.client.worker().await {
            Ok(worker) => worker.start(start).await.map(|asked| (worker, asked)).map_err(|e| e.to_string()),
            Err(sentence) => Err(sentence),
        };
        let (worker, asked) = match begun {
            Ok(begun) => begun,
            Err(sentence) => return self.finish(id, session, Some(&sentence), 255),
        };
        let program = Program {
            number: asked.number(),
            worker,
            input: Arc::default(),
            window: self.channels.window(number(id)).cloned().unwrap_or_default(),
            takes_signals,
            is_done: Arc::default(),
            traffic: self.client.traffic(),
        };
        self.client.ledger().note(Deed::Started {
            number: program.number,
            what: what.0,
            command: what.1,
            terminal: has_terminal,
        });
        self.channels.set(number(id), Channel::Program(program.clone()));
        self.own_end.push(id);
        let sink = HandleSink { id, handle: session.handle() };
        let (auditor, ledger, own_keys) = (self.client.auditor(), self.client.ledger(), self.client.own_keys());
        tokio::spawn(programs::relay(asked, program, has_terminal, sink, auditor, ledger, own_keys));
        Ok(())
    }

    /// Goes on after the engine of a channel has served, or has stopped.
    pub(super) async fn after_serving(
        &mut self,
        id: ChannelId,
        served: Result<(), Stopped>,
        session: &mut Session,
    ) -> Result<(), Error> {
        match served {
            Ok(()) if self.channels.sftp(number(id)).is_some_and(|sftp| sftp.is_done()) => {
                self.report_totals(id).await;
                self.look_for_own_keys().await;
                self.finish(id, session, None, 0)
            }
            Ok(()) => Ok(()),
            Err(Stopped::Ssh(error)) => Err(error.into()),
            Err(Stopped::Broken(broken)) => {
                self.client.report(Event::ProtocolError { what: broken.to_string() }).await;
                self.finish(id, session, Some(&broken.to_string()), 1)
            }
        }
    }

    /// How much input waits for programs and forwards that do not read, and whether for this channel.
    pub(super) fn pile(&self, channel: u32) -> Pile {
        if !self.channels.is_any_full() && !self.forwards.is_full() {
            return Pile::Small;
        }
        if self.channels.is_any_stuffed() || self.channels.most_input().max(self.forwards.input()) > MOST_PILED {
            return Pile::Full;
        }
        Pile::Large { is_cause: self.channels.is_full(channel) || self.forwards.is_full_at(channel) }
    }

    /// What was written into the user's own keys is known before the client hears that it is done.
    pub(super) async fn look_for_own_keys(&mut self) {
        if let Some(own_keys) = self.client.own_keys() {
            own_keys.look().await;
        }
    }

    pub(super) async fn report_totals(&mut self, id: ChannelId) {
        if let Some(sftp) = self.channels.sftp(number(id)) {
            let totals = sftp.totals();
            self.client.report(Event::SftpClosed { read: totals.read, written: totals.written }).await;
        }
    }
}

/// A program for the audit trail: what kind it is, and the command line that the client sent.
fn kind(program: &wire::Program) -> (Started, PeerText) {
    let (kind, line): (_, &[u8]) = match program {
        wire::Program::Shell => (Started::Shell, b""),
        wire::Program::Command(line) => (Started::Command, line),
        wire::Program::Direct(line) => (Started::Direct, line),
        wire::Program::Forced { original } => (Started::Forced, original.as_deref().unwrap_or_default()),
    };
    (kind, PeerText::new(line))
}
