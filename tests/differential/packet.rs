//! Raw packets of SFTP version 3, and answers taken apart.

/// One request, whose handles each side knows by its own bytes.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What the tables call it.
    pub(crate) name: &'static str,
    pub(crate) kind: u8,
    pub(crate) parts: Vec<Part>,
}

/// A piece of a request's body.
#[derive(Clone)]
pub(crate) enum Part {
    Bytes(Vec<u8>),
    /// The handle in this place of the table.
    Handle(usize),
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Bytes(bytes) => write!(f, "'{}'", bytes[..bytes.len().min(80)].escape_ascii()),
            Part::Handle(place) => write!(f, "handle {place}"),
        }
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Status(u32),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<Name>),
    Attributes(Attributes),
    Extended(Vec<u8>),
}

/// One entry of NAME.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) name: Vec<u8>,
    pub(crate) long: Vec<u8>,
    pub(crate) attributes: Attributes,
}

impl std::fmt::Debug for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}' '{}' {:?}", self.name.escape_ascii(), self.long.escape_ascii(), self.attributes)
    }
}

/// ATTRS; what is absent is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attributes {
    pub(crate) flags: u32,
    pub(crate) size: u64,
    pub(crate) owner: (u32, u32),
    pub(crate) mode: u32,
    pub(crate) times: (u32, u32),
}

pub(crate) const OK: u32 = 0;
pub(crate) const EOF: u32 = 1;
pub(crate) const NO_SUCH_FILE: u32 = 2;
pub(crate) const PERMISSION_DENIED: u32 = 3;
pub(crate) const FAILURE: u32 = 4;
pub(crate) const BAD_MESSAGE: u32 = 5;

/// A length and as many bytes.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("a short text").to_be_bytes()[..], bytes].concat()
}

impl Request {
    /// The packet, with its length field.
    pub(crate) fn bytes(&self, id: u32, handles: &[Vec<u8>]) -> Vec<u8> {
        let mut body = vec![self.kind];
        body.extend(id.to_be_bytes());
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) => body.extend(bytes),
                Part::Handle(place) => body.extend(text(&handles[*place])),
            }
        }
        text(&body)
    }
}

impl Reply {
    /// Takes apart a packet without its length field; the number must be that of the request.
    pub(crate) fn parse(packet: &[u8], id: u32) -> Reply {
        let mut body = Body(packet.get(1..).expect("a body"));
        assert_eq!(body.number(), id, "an answer to another request");
        match packet[0] {
            101 => Reply::Status(body.number()),
            102 => Reply::Handle(body.text()),
            103 => Reply::Data(body.text()),
            104 => Reply::Names((0..body.number()).map(|_| body.name()).collect()),
            105 => Reply::Attributes(body.attributes()),
            201 => Reply::Extended(body.0.to_vec()),
            other => panic!("an answer of type {other}"),
        }
    }
}

/// What is left of an answer.
pub(crate) struct Body<'a>(pub(crate) &'a [u8]);

impl Body<'_> {
    pub(crate) fn number(&mut self) -> u32 {
        let (bytes, rest) = self.0.split_first_chunk().expect("a number");
        self.0 = rest;
        u32::from_be_bytes(*bytes)
    }

    pub(crate) fn long(&mut self) -> u64 {
        u64::from(self.number()) << 32 | u64::from(self.number())
    }

    pub(crate) fn text(&mut self) -> Vec<u8> {
        let length = self.number() as usize;
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes.to_vec()
    }

    fn name(&mut self) -> Name {
        Name { name: self.text(), long: self.text(), attributes: self.attributes() }
    }

    fn attributes(&mut self) -> Attributes {
        let flags = self.number();
        let mut found = Attributes { flags, ..Attributes::default() };
        if flags & 1 != 0 {
            found.size = self.long();
        }
        if flags & 2 != 0 {
            found.owner = (self.number(), self.number());
        }
        if flags & 4 != 0 {
            found.mode = self.number();
        }
        if flags & 8 != 0 {
            found.times = (self.number(), self.number());
        }
        found
    }
}
