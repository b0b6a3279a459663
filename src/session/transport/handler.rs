//! The callbacks of the SSH library. Every one that wants an answer gets it: the library sends none by itself.

use russh::keys::PublicKeyBase64;
use russh::keys::ssh_key::{Algorithm, Certificate, PublicKey};
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Response, Session, VerifiedPublicKey};
use russh::{ChannelId, ChannelOpenFailure, Pty, Sig};

use super::connection::{ChannelOutlet, Connection, number};
use super::factors;
use super::forwards::{self, Called};
use super::wishes::{signal_name, size, terminal};
use crate::session::Error;
use crate::session::asked::Asked;
use crate::session::channels::Channel;
use crate::session::forwards::Taken;
use crate::session::window::Window;
use crate::session::windows::Pile;
use crate::wire::{Event, Place, Target, ToWorker};

/// Smallest RSA key whose signature is looked at.
const SMALLEST_RSA: usize = 2048;

/// SHA-1 signatures, and RSA keys that can be factored, are refused before anybody is asked.
fn is_sound(key: &PublicKey, algorithm: &Algorithm) -> bool {
    match algorithm {
        Algorithm::Rsa { hash: None } | Algorithm::Dsa => false,
        Algorithm::Rsa { .. } => key
            .key_data()
            .rsa()
            .is_some_and(|rsa| rsa.n().as_positive_bytes().is_some_and(|n| n.len() * 8 >= SMALLEST_RSA)),
        _ => true,
    }
}

impl server::Handler for Connection {
    type Error = Error;

    // -- who is there -----------------------------------------------------------------------------------------------

    async fn authentication_banner(&mut self) -> Result<Option<String>, Error> {
        Ok(self.client.notice().map(|notice| format!("{}\r\n", notice.sentence())))
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, Error> {
        if !is_sound(offer.public_key, offer.algorithm) {
            return Ok(factors::rejected(self.client.left(user)));
        }
        match self.client.offer(user, &offer.public_key.public_key_bytes()).await? {
            true => Ok(Auth::Accept),
            false => Ok(factors::rejected(self.client.left(user))),
        }
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        if !is_sound(key.public_key, key.algorithm) {
            return Ok(factors::rejected(self.client.left(user)));
        }
        let verdict = self.client.claim_key(user, &key.public_key.public_key_bytes()).await?;
        Ok(factors::answer(verdict, self.client.left(user)))
    }

    /// The library has checked the times, that the key signed, and that somebody signed the certificate. Who that is, and all
    /// else that it says, is looked at outside of this process.
    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Result<Auth, Error> {
        let Ok(bytes) = certificate.to_bytes() else { return Ok(factors::rejected(self.client.left(user))) };
        let verdict = self.client.claim_certificate(user, bytes).await?;
        Ok(factors::answer(verdict, self.client.left(user)))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Error> {
        let verdict = self.client.claim_password(user, password).await?;
        Ok(factors::answer(verdict, self.client.left(user)))
    }

    /// Asks for a code where one is needed, and for nothing else: it is offered only then.
    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        let left = self.client.left(user);
        match response {
            _ if !factors::asks_for_a_code(left) => Ok(factors::rejected(left)),
            None => Ok(factors::ask_for_a_code()),
            Some(mut typed) => {
                let code = typed.next().unwrap_or_default();
                let verdict = self.client.claim_code(user, &String::from_utf8_lossy(&code)).await?;
                Ok(factors::answer(verdict, self.client.left(user)))
            }
        }
    }

    // -- channels ---------------------------------------------------------------------------------------------------

    /// The library's own end of the channel is dropped: data comes by callback and leaves through [`Session`], so no
    /// queue stands between.
    async fn channel_open_session(
        &mut self,
        channel: russh::Channel<Msg>,
        reply: ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Error> {
        self.forget_finished(session).await;
        // The client's largest packet, for its window has hardly less at first.
        let packet = u32::try_from(channel.writable_packet_size().await).unwrap_or(u32::MAX);
        let window = Window::begins(packet, session.remote_sshid());
        if self.channels.open(number(channel.id()), window) {
            reply.accept().await;
        } else {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
        }
        Ok(())
    }

    /// Where the connection that is forwarded comes from is the client's word, and nothing is made of it.
    async fn channel_open_direct_tcpip(
        &mut self,
        channel: russh::Channel<Msg>,
        host: &str,
        port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        self.connect(channel, forwards::target(host, port), reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: russh::Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Error> {
        self.connect(channel, Ok(Target::Socket { path: path.to_owned() }), reply).await
    }

    /// A channel that we have asked for. Before its first data comes it must be known.
    async fn channel_open_confirmation(
        &mut self,
        id: ChannelId,
        _packet: u32,
        _window: u32,
        _session: &mut Session,
    ) -> Result<(), Error> {
        if !self.channels.is_known(number(id)) {
            self.forwards.open(number(id));
        }
        Ok(())
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, session: &mut Session) -> Result<bool, Error> {
        let listening = self.listen(forwards::place(address, *port), session).await?;
        *port = listening.map_or(*port, u32::from);
        Ok(listening.is_some())
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _session: &mut Session) -> Result<bool, Error> {
        let Ok(port) = u16::try_from(port) else { return Ok(false) };
        Ok(self.listen_no_more(&Called::Port(address.to_owned(), port)).await)
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Result<bool, Error> {
        Ok(self.listen(Ok(Place::Socket { path: path.to_owned() }), session).await?.is_some())
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _session: &mut Session) -> Result<bool, Error> {
        Ok(self.listen_no_more(&Called::Socket(path.to_owned())).await)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Error> {
        match (name, self.channels.is_idle(number(id))) {
            (_, false) => Ok(session.channel_failure(id)?),
            ("sftp", true) => self.begin(id, Asked::Sftp, session).await,
            (_, true) => self.begin(id, Asked::Subsystem, session).await,
        }
    }

    async fn shell_request(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        if !self.channels.is_idle(number(id)) {
            return Ok(session.channel_failure(id)?);
        }
        self.begin(id, Asked::Shell, session).await
    }

    async fn exec_request(&mut self, id: ChannelId, command: &[u8], session: &mut Session) -> Result<(), Error> {
        if !self.channels.is_idle(number(id)) {
            return Ok(session.channel_failure(id)?);
        }
        self.begin(id, Asked::Command(command), session).await
    }

    /// Granted also where no program will be: the client then shows the sentence that its request for one is answered
    /// with, and not a complaint about the terminal.
    async fn pty_request(
        &mut self,
        id: ChannelId,
        term: &str,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Result<(), Error> {
        if self.may_have_no_terminal() {
            let why = "terminals are not open to this login".to_owned();
            self.client.report(Event::Refused { what: "a terminal".to_owned(), why }).await;
            return Ok(session.channel_failure(id)?);
        }
        let terminal = terminal(term, size(columns, rows, width, height), modes);
        self.wishes.entry(number(id)).or_default().terminal = Some(terminal);
        Ok(session.channel_success(id)?)
    }

    async fn env_request(
        &mut self,
        id: ChannelId,
        name: &str,
        value: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        if !self.wishes.entry(number(id)).or_default().add(&self.surroundings, name, value) {
            return Ok(session.channel_failure(id)?);
        }
        Ok(session.channel_success(id)?)
    }

    async fn x11_request(
        &mut self,
        id: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        Ok(session.channel_failure(id)?)
    }

    async fn agent_request(&mut self, _id: ChannelId, session: &mut Session) -> Result<bool, Error> {
        self.offer_agent(session).await
    }

    async fn window_change_request(
        &mut self,
        id: ChannelId,
        columns: u32,
        rows: u32,
        width: u32,
        height: u32,
        session: &mut Session,
    ) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id)) {
            let size = size(columns, rows, width, height);
            program.worker.say(ToWorker::Resize { number: program.number, size }).await;
        }
        Ok(session.channel_success(id)?)
    }

    async fn signal(&mut self, id: ChannelId, signal: Sig, _session: &mut Session) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id))
            && program.takes_signals
        {
            program.worker.say(ToWorker::Signal { number: program.number, name: signal_name(&signal) }).await;
        }
        Ok(())
    }

    // -- data -------------------------------------------------------------------------------------------------------

    async fn data(&mut self, id: ChannelId, data: &[u8], session: &mut Session) -> Result<(), Error> {
        self.client.activity().note();
        let traffic = self.client.traffic();
        traffic.note();
        if traffic.is_limited() && self.pile(number(id)) != Pile::Small {
            traffic.hold();
        }
        if let Some(program) = self.channels.program(number(id)) {
            if !program.input.push(data) {
                return self.finish(id, session, Some("more input than the program can take; it was ended"), 255);
            }
            return Ok(());
        }
        match self.forwards.push(number(id), data) {
            Taken::Yes => return Ok(()),
            Taken::TooMuch => {
                self.forwards.close(number(id));
                return Ok(session.close(id)?);
            }
            Taken::NotOurs => {}
        }
        let Some(sftp) = self.channels.sftp(number(id)) else { return Ok(()) };
        let served = sftp.feed(data, &mut ChannelOutlet { id, session });
        self.after_serving(id, served, session).await
    }

    /// The library has opened the window of a channel, and wants to know how far it opens the next; see
    /// [`crate::session::windows`].
    fn adjust_window(&mut self, id: ChannelId, size: u32) -> u32 {
        let pile = self.pile(number(id));
        self.windows.next(number(id), size, pile)
    }

    async fn window_adjusted(&mut self, id: ChannelId, size: u32, session: &mut Session) -> Result<(), Error> {
        self.client.traffic().note();
        if let Some(window) = self.channels.window(number(id)) {
            window.is_now(size);
        }
        let Some(sftp) = self.channels.sftp(number(id)) else { return Ok(()) };
        let served = sftp.resume(&mut ChannelOutlet { id, session });
        self.after_serving(id, served, session).await
    }

    /// The client has nothing more to ask: what it asked for is answered, and that is all.
    async fn channel_eof(&mut self, id: ChannelId, session: &mut Session) -> Result<(), Error> {
        if let Some(program) = self.channels.program(number(id)) {
            program.input.end();
            return Ok(());
        }
        if self.forwards.end_input(number(id)) {
            return Ok(());
        }
        match self.channels.sftp(number(id)) {
            Some(sftp) => {
                sftp.ask_no_more();
                self.after_serving(id, Ok(()), session).await
            }
            None => Ok(()),
        }
    }

    async fn channel_close(&mut self, id: ChannelId, _session: &mut Session) -> Result<(), Error> {
        if self.forwards.close(number(id)) {
            return Ok(());
        }
        self.report_totals(id).await;
        if self.channels.sftp(number(id)).is_some() {
            self.look_for_own_keys().await;
        }
        self.wishes.remove(&number(id));
        if let Some(Channel::Program(program)) = self.channels.close(number(id)) {
            program.input.end();
            program.window.shut();
            program.worker.say(ToWorker::HangUp { number: program.number }).await;
        }
        Ok(())
    }
}
