//! The form of an entry in the map of fields: number, name, kind and, for messages, what is inside.

/// How a field stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One integer.
    Varint,
    /// A list of integers, each with its key or packed.
    Varints,
    /// Four bytes.
    Fixed4,
    /// A list of four-byte values, each with its key or packed.
    Fixed4s,
    /// A list of eight-byte values, each with its key or packed.
    Fixed8s,
    /// UTF-8 text.
    Text,
    /// A list of UTF-8 texts.
    Texts,
    /// Bytes.
    Bytes,
    /// A list of byte strings.
    BytesList,
    /// A message held in its parent.
    One,
    /// A message in memory of its own.
    Boxed,
    /// A list of messages.
    Many,
}

/// One field of a message.
pub(crate) struct Field {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// The message it holds, if it holds one.
    pub(crate) message: Option<&'static Schema>,
}

/// One message.
pub(crate) struct Schema {
    pub(crate) name: &'static str,
    /// Bytes the message takes in memory, without what it points to.
    pub(crate) size: usize,
    /// Sorted by number.
    pub(crate) fields: &'static [Field],
}

impl Schema {
    /// The field with this number, if the message has one.
    pub(crate) fn field(&self, number: u32) -> Option<&'static Field> {
        let at = self
            .fields
            .binary_search_by_key(&number, |field| field.number);
        at.ok().map(|at| &self.fields[at])
    }
}

/// A field that holds no message.
pub(super) const fn leaf(number: u32, name: &'static str, kind: Kind) -> Field {
    let message = None;
    Field {
        number,
        name,
        kind,
        message,
    }
}

/// A field that holds a message in its parent.
pub(super) const fn one(number: u32, name: &'static str, message: &'static Schema) -> Field {
    Field {
        number,
        name,
        kind: Kind::One,
        message: Some(message),
    }
}

/// A field that holds a message in memory of its own.
pub(super) const fn boxed(number: u32, name: &'static str, message: &'static Schema) -> Field {
    Field {
        number,
        name,
        kind: Kind::Boxed,
        message: Some(message),
    }
}

/// A field that holds a list of messages.
pub(super) const fn many(number: u32, name: &'static str, message: &'static Schema) -> Field {
    Field {
        number,
        name,
        kind: Kind::Many,
        message: Some(message),
    }
}
