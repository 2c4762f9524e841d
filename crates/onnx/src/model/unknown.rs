//! Fields that no known IR version defines, kept as bytes.
//!
//! prost drops what a message does not declare. Every message here declares one "oneof" over all the
//! numbers up to [`LAST_KEPT_FIELD`] that it does not use; this type stands for that oneof and keeps
//! whatever comes, so a file of a newer IR survives reading and writing.

use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{
    DecodeContext, WireType, bytes, decode_varint, encode_key, encode_varint, fixed32, fixed64,
    skip_field,
};

/// Highest field number kept when unknown; [`decode_model`](crate::decode_model) rejects higher ones.
pub const LAST_KEPT_FIELD: u32 = 40;

/// Unknown fields of one message: their keys and values as they stood in the file, in file order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    bytes: Vec<u8>,
}

impl Unknown {
    /// The fields in wire format.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the fields; the name and form are what prost asks of a oneof.
    pub fn encode(&self, buf: &mut impl BufMut) {
        buf.put_slice(&self.bytes);
    }

    /// Bytes that [`encode`](Self::encode) writes.
    pub fn encoded_len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes one field from `buf`; the name and form are what prost asks of a oneof.
    ///
    /// # Errors
    /// As prost: the value is cut short. A group, which ONNX never uses, is skipped as prost does;
    /// [`decode_model`](crate::decode_model) rejects groups before it comes to this.
    pub fn merge(
        field: &mut Option<Self>,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        let mut value = Vec::new();
        match wire_type {
            WireType::Varint => encode_varint(decode_varint(buf)?, &mut value),
            WireType::ThirtyTwoBit => {
                let mut bits = 0;
                fixed32::merge(wire_type, &mut bits, buf, ctx)?;
                value.put_u32_le(bits);
            }
            WireType::SixtyFourBit => {
                let mut bits = 0;
                fixed64::merge(wire_type, &mut bits, buf, ctx)?;
                value.put_u64_le(bits);
            }
            WireType::LengthDelimited => {
                let mut content = Vec::new();
                bytes::merge(wire_type, &mut content, buf, ctx)?;
                encode_varint(content.len() as u64, &mut value);
                value.put_slice(&content);
            }
            WireType::StartGroup | WireType::EndGroup => {
                return skip_field(wire_type, tag, buf, ctx);
            }
        }
        let kept = &mut field.get_or_insert_default().bytes;
        encode_key(tag, wire_type, kept);
        kept.put_slice(&value);
        Ok(())
    }
}
