//! Takes a packet apart without copying it.

/// The packet ended before the field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Short;

/// What is left of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(packet: &'a [u8]) -> Self {
        Reader { rest: packet }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Short> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Short)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Short> {
        let (first, rest) = self.rest.split_first().ok_or(Short)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Short> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Short)?;
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Short> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(Short)?;
        self.rest = rest;
        Ok(u64::from_be_bytes(*bytes))
    }

    /// A length and as many bytes (RFC 4251, section 5).
    pub(super) fn string(&mut self) -> Result<&'a [u8], Short> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Short)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_in_turn_and_never_past_the_end() {
        let mut reader = Reader::new(&[7, 0, 0, 0, 2, b'h', b'i', 0, 0]);
        assert_eq!(reader.u8(), Ok(7));
        assert_eq!(reader.string(), Ok(&b"hi"[..]));
        assert_eq!(reader.u32(), Err(Short));
        assert_eq!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).string(), Err(Short));
    }
}
