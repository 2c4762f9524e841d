//! The RAW section and plain bytes: tensors kept verbatim, in one stream, through one model.

use crate::entropy::{BitIo, ByteModel, UintModel, code_sint};
use crate::error::{FormatError, check_limit};
use crate::limits::{DecodeLimits, MAX_SITE, MAX_TENSORS};
use crate::record::RawTensor;

/// How many bytes are decoded between two looks at the end of the stream.
const CHECK_EVERY: usize = 1024;
/// Bytes that the model of raw tensors is made for.
const RAW_EXPECTED: usize = 1 << 13;

/// Codes all raw tensors.
pub(crate) fn code_raw<IO: BitIo>(
    io: &mut IO,
    given: &[RawTensor],
    limits: &DecodeLimits,
) -> Result<Vec<RawTensor>, FormatError> {
    let mut header = UintModel::default();
    let count =
        header.code_limited(io, "number of raw tensors", given.len() as u64, MAX_TENSORS)?;
    let mut tensors = Vec::new();
    let mut model = ByteModel::new(RAW_EXPECTED);
    let mut site = -1i64;
    let mut bytes_left = limits.raw_bytes;
    for i in 0..count as usize {
        let tensor = given.get(i);
        let goal = tensor.map_or(0, |t| i64::from(t.site));
        site += code_sint(&mut header, io, goal - site - 1) + 1;
        check_limit("site", u64::try_from(site).unwrap_or(u64::MAX), MAX_SITE)?;
        let width = tensor.map_or(0, |t| u64::from(t.width.max(1).ilog2()));
        let width = 1u8 << header.code_limited(io, "width of raw elements", width, 3)?;
        let size = tensor.map_or(0, |t| t.bytes.len() as u64);
        let size = header.code_limited(io, "bytes of all raw tensors", size, bytes_left)?;
        bytes_left -= size;
        model.set_width(width);
        let bytes = code_bytes(io, &mut model, tensor.map(|t| &t.bytes[..]), size as usize)?;
        if IO::DECODES {
            tensors.push(RawTensor {
                site: site as u32,
                width,
                bytes,
            });
        }
    }
    io.check("the raw tensors")?;
    Ok(tensors)
}

/// Codes `length` bytes.
pub(crate) fn code_bytes<IO: BitIo>(
    io: &mut IO,
    model: &mut ByteModel,
    given: Option<&[u8]>,
    length: usize,
) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    for i in 0..length {
        let byte = model.code(io, given.map_or(0, |g| g[i]));
        if IO::DECODES {
            bytes.push(byte);
        }
        if i % CHECK_EVERY == 0 {
            io.check("the bytes")?;
        }
    }
    Ok(bytes)
}
