//! The wire format of protocol buffers, as far as ONNX files use it (Google, "Encoding"): fields one by one, nothing copied.

/// The value of one field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    /// Integers, enumerations, booleans.
    Varint(u64),
    /// Texts, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// Floats.
    Fixed32([u8; 4]),
    /// Doubles.
    Fixed64([u8; 8]),
}

/// The fields of one message, in the order of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Message<'a> {
        Message { rest: bytes }
    }

    /// The next field and its number; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Wire<'a>)>, &'static str> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = varint(&mut self.rest)?;
        let wire = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.rest)?),
            1 => Wire::Fixed64(array(&mut self.rest)?),
            2 => {
                let length = usize::try_from(varint(&mut self.rest)?).map_err(|_| "a field is too long")?;
                Wire::Bytes(take(&mut self.rest, length)?)
            }
            5 => Wire::Fixed32(array(&mut self.rest)?),
            _ => return Err("a field is of an unknown kind"),
        };
        Ok(Some((tag >> 3, wire)))
    }
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], &'static str> {
        if let Wire::Bytes(bytes) = self { Ok(bytes) } else { Err("a field is not of its kind") }
    }

    pub(super) fn text(self) -> Result<&'a str, &'static str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a text is not UTF-8")
    }

    pub(super) fn int(self) -> Result<i64, &'static str> {
        if let Wire::Varint(value) = self { Ok(value.cast_signed()) } else { Err("a field is not of its kind") }
    }

    pub(super) fn float(self) -> Result<f32, &'static str> {
        if let Wire::Fixed32(bytes) = self { Ok(f32::from_le_bytes(bytes)) } else { Err("a field is not of its kind") }
    }

    /// One integer, or a packed list of them, added to `list`.
    pub(super) fn ints(self, list: &mut Vec<i64>) -> Result<(), &'static str> {
        let mut packed = match self {
            Wire::Varint(value) => {
                list.push(value.cast_signed());
                return Ok(());
            }
            other => other.bytes()?,
        };
        while !packed.is_empty() {
            list.push(varint(&mut packed)?.cast_signed());
        }
        Ok(())
    }

    /// One float, or a packed list of them, added to `list`.
    pub(super) fn floats(self, list: &mut Vec<f32>) -> Result<(), &'static str> {
        if let Wire::Fixed32(bytes) = self {
            list.push(f32::from_le_bytes(bytes));
            return Ok(());
        }
        let (numbers, []) = self.bytes()?.as_chunks() else { return Err("a list of floats is cut") };
        list.extend(numbers.iter().map(|number| f32::from_le_bytes(*number)));
        Ok(())
    }
}

fn varint(rest: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let [byte] = array(rest)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number is too long")
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, left) = rest.split_at_checked(length).ok_or("the file ends within a field")?;
    *rest = left;
    Ok(taken)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], &'static str> {
    let mut array = [0; N];
    array.copy_from_slice(take(rest, N)?);
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_in_turn() {
        let bytes = [8, 0x96, 1, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f];
        let mut message = Message::new(&bytes);
        assert_eq!(message.next(), Ok(Some((1, Wire::Varint(150)))));
        assert_eq!(message.next().map(|field| field.map(|(number, wire)| (number, wire.text()))), Ok(Some((2, Ok("hi")))));
        assert_eq!(message.next().map(|field| field.map(|(number, wire)| (number, wire.float()))), Ok(Some((3, Ok(1.0)))));
        assert_eq!(message.next(), Ok(None));
        let mut list = vec![];
        Wire::Bytes(&[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]).ints(&mut list).expect("two numbers");
        assert_eq!(list, [1, -1]);
    }

    #[test]
    fn what_breaks_off_is_an_error() {
        for bytes in
            [&[8][..], &[8, 0x80], &[0x12, 5, 1], &[0x1d, 0, 0], &[0x0b], &[8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]]
        {
            assert!(Message::new(bytes).next().is_err(), "{bytes:?}");
        }
    }
}
