//! One pass over the bytes before prost decodes them: finds what is malformed and where, what would be
//! lost, and what would take more memory than the file's length justifies. Skips over tensor data.

mod messages;
mod schema;

use std::fmt::Write;

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_varint};

use crate::error::OnnxError;
use crate::model::LAST_KEPT_FIELD;
use schema::{Field, Kind, Schema};

/// Deepest nesting of messages; the limit of prost and of protobuf's own readers.
const MAX_DEPTH: usize = 100;
/// Memory a message may take: this, and [`MEMORY_PER_BYTE`] for every byte of the file.
///
/// Real models take up to about 20 bytes a byte where they hold structure and 1 where they hold weights;
/// a hostile one of empty messages takes hundreds.
const MEMORY_FREE: usize = 32 << 20;
/// See [`MEMORY_FREE`].
const MEMORY_PER_BYTE: usize = 32;

/// Checks the bytes of a model.
///
/// # Errors
/// [`OnnxError::Malformed`] with the field and the byte where it goes wrong.
pub(crate) fn scan_model(bytes: &[u8]) -> Result<(), OnnxError> {
    scan(bytes, &messages::MODEL).map(|_memory| ())
}

/// As [`scan_model`] for any message; returns the estimate of its memory in bytes.
fn scan(bytes: &[u8], schema: &'static Schema) -> Result<usize, OnnxError> {
    let mut scanner = Scanner {
        bytes,
        place: Vec::new(),
        memory: 0,
    };
    scanner.message(schema, 0, bytes.len())?;
    Ok(scanner.memory)
}

/// What a field's key says.
struct Key {
    number: u32,
    wire: WireType,
}

/// One step of the path to the place being read.
struct Step {
    name: &'static str,
    /// Position in a list; `None` for a single message.
    index: Option<usize>,
}

struct Scanner<'a> {
    bytes: &'a [u8],
    place: Vec<Step>,
    /// Estimate of the memory the decoded messages take, in bytes.
    memory: usize,
}

impl Scanner<'_> {
    fn message(
        &mut self,
        schema: &'static Schema,
        mut at: usize,
        end: usize,
    ) -> Result<(), OnnxError> {
        let mut counts = vec![0usize; schema.fields.len()];
        while at < end {
            let start = at;
            let key = self.key(schema, &mut at, end)?;
            let value_end = self.value_end(schema, &key, start, &mut at, end)?;
            if let Some(field) = schema.field(key.number) {
                let position = position(schema, key.number);
                self.field(field, &key, counts[position], start, at..value_end)?;
                counts[position] += 1;
            } else if key.number > LAST_KEPT_FIELD {
                let reason = format!(
                    "field number {} is in no version of ONNX and would be lost; legal are 1 to {LAST_KEPT_FIELD}",
                    key.number
                );
                return Err(self.malformed(schema, None, start, reason));
            }
            at = value_end;
        }
        Ok(())
    }

    /// Reads a field's key and moves `at` behind it.
    fn key(&self, schema: &Schema, at: &mut usize, end: usize) -> Result<Key, OnnxError> {
        let start = *at;
        let fail = |reason: &str| Err(self.malformed(schema, None, start, reason.to_string()));
        let Some(key) = varint(&self.bytes[..end], at) else {
            return fail("the field's key is cut short");
        };
        let Ok(key) = u32::try_from(key) else {
            return fail("the field's key is larger than 32 bits");
        };
        let number = key >> 3;
        match WireType::try_from(u64::from(key & 7)) {
            _ if number == 0 => fail("field number 0; legal are 1 and up"),
            Err(_) => fail("wire type 6 or 7; legal are 0, 1, 2 and 5"),
            Ok(WireType::StartGroup | WireType::EndGroup) => {
                fail("a group, which ONNX does not use; legal wire types are 0, 1, 2 and 5")
            }
            Ok(wire) => Ok(Key { number, wire }),
        }
    }

    /// Moves `at` to the value's first byte and returns its end, which is at most `end`.
    fn value_end(
        &self,
        schema: &Schema,
        key: &Key,
        start: usize,
        at: &mut usize,
        end: usize,
    ) -> Result<usize, OnnxError> {
        let field = schema.field(key.number);
        let fail = |reason: String| Err(self.malformed(schema, field, start, reason));
        let length = match key.wire {
            WireType::Varint => {
                let mut behind = *at;
                return match varint(&self.bytes[..end], &mut behind) {
                    Some(_) => Ok(behind),
                    None => fail("the integer is cut short or longer than 10 bytes".into()),
                };
            }
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            _ => match varint(&self.bytes[..end], at) {
                Some(length) => length,
                None => return fail("the length is cut short or longer than 10 bytes".into()),
            },
        };
        let left = end - *at;
        match usize::try_from(length) {
            Ok(length) if length <= left => Ok(*at + length),
            _ => fail(format!(
                "the field says {length} bytes, its message has {left} left; the file may be cut short"
            )),
        }
    }

    /// Checks a known field's value, which lies at `value`.
    fn field(
        &mut self,
        field: &'static Field,
        key: &Key,
        count: usize,
        start: usize,
        value: std::ops::Range<usize>,
    ) -> Result<(), OnnxError> {
        let index = (field.kind == Kind::Many).then_some(count);
        self.place.push(Step {
            name: field.name,
            index,
        });
        if let Some(reason) = wrong_form(field.kind, key.wire, &self.bytes[value.clone()]) {
            return Err(self.malformed_here(start, reason));
        }
        self.memory = self
            .memory
            .saturating_add(memory(field, count, value.len()));
        let limit = MEMORY_FREE.saturating_add(MEMORY_PER_BYTE.saturating_mul(self.bytes.len()));
        if self.memory > limit {
            let reason = format!(
                "the messages up to here would take more than {limit} bytes of memory, \
                 which no model of this length needs"
            );
            return Err(self.malformed_here(start, reason));
        }
        if let Some(message) = field.message {
            if self.place.len() >= MAX_DEPTH {
                let reason = format!("messages nested deeper than {MAX_DEPTH}");
                return Err(self.malformed_here(start, reason));
            }
            self.message(message, value.start, value.end)?;
        }
        self.place.pop();
        Ok(())
    }

    fn malformed(
        &self,
        schema: &Schema,
        field: Option<&Field>,
        offset: usize,
        reason: String,
    ) -> OnnxError {
        let mut place = self.place_text();
        match field {
            Some(field) if place.is_empty() => place.push_str(field.name),
            Some(field) => write!(place, ".{}", field.name).unwrap_or_default(),
            None if place.is_empty() => place.push_str(schema.name),
            None => {}
        }
        let length = self.bytes.len();
        OnnxError::Malformed {
            place,
            offset,
            length,
            reason,
        }
    }

    fn malformed_here(&self, offset: usize, reason: String) -> OnnxError {
        let (place, length) = (self.place_text(), self.bytes.len());
        OnnxError::Malformed {
            place,
            offset,
            length,
            reason,
        }
    }

    fn place_text(&self) -> String {
        let mut text = String::new();
        for (depth, step) in self.place.iter().enumerate() {
            let dot = if depth == 0 { "" } else { "." };
            text.push_str(dot);
            text.push_str(step.name);
            if let Some(index) = step.index {
                write!(text, "[{index}]").unwrap_or_default();
            }
        }
        text
    }
}

fn position(schema: &Schema, number: u32) -> usize {
    schema.fields.partition_point(|field| field.number < number)
}

/// What is wrong with a value of this kind and wire type, if anything.
fn wrong_form(kind: Kind, wire: WireType, value: &[u8]) -> Option<String> {
    let (single, packed_unit) = match kind {
        Kind::Varint => (WireType::Varint, None),
        Kind::Varints => (WireType::Varint, Some(1)),
        Kind::Fixed4 => (WireType::ThirtyTwoBit, None),
        Kind::Fixed4s => (WireType::ThirtyTwoBit, Some(4)),
        Kind::Fixed8s => (WireType::SixtyFourBit, Some(8)),
        _ => (WireType::LengthDelimited, None),
    };
    if wire == single {
        return match kind {
            Kind::Text | Kind::Texts if std::str::from_utf8(value).is_err() => {
                Some("the text is not UTF-8".into())
            }
            _ => None,
        };
    }
    match packed_unit {
        Some(unit) if wire == WireType::LengthDelimited => {
            if !value.len().is_multiple_of(unit) {
                let length = value.len();
                return Some(format!(
                    "{length} bytes of packed values of {unit} bytes each"
                ));
            }
            let open = unit == 1 && value.last().is_some_and(|byte| byte & 0x80 != 0);
            open.then(|| "the last packed integer is cut short".into())
        }
        _ => Some(format!("wire type {wire:?}; legal is {single:?}")),
    }
}

/// Estimate of the memory that a field's occurrence number `count` adds, in bytes.
fn memory(field: &Field, count: usize, length: usize) -> usize {
    // A vector of such elements starts with room for four and doubles when full.
    let new_room = match count {
        0 => 4,
        _ if count >= 4 && count.is_power_of_two() => count,
        _ => 0,
    };
    match (field.kind, field.message) {
        (Kind::Boxed, Some(message)) => message.size,
        (Kind::Many, Some(message)) => new_room.saturating_mul(message.size),
        (Kind::Text | Kind::Bytes, _) => length,
        (Kind::Texts | Kind::BytesList, _) => new_room * size_of::<String>() + length,
        // A packed integer takes at least one byte in the file and eight in memory.
        (Kind::Varints, _) => length.saturating_mul(8),
        (Kind::Fixed4s | Kind::Fixed8s, _) => length,
        _ => 0,
    }
}

/// Reads a varint and moves `at` behind it; `None` when it is cut short or too long.
fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut rest = &bytes[*at..];
    let before = rest.remaining();
    let value = decode_varint(&mut rest).ok()?;
    *at += before - rest.remaining();
    Some(value)
}

#[cfg(test)]
mod tests;
