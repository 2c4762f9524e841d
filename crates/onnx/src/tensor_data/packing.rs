//! Between numbers and their packed little-endian bytes.

/// Little-endian elements of `N` bytes each; `bytes` has been checked to hold whole ones.
pub(super) fn elements<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .as_chunks::<N>()
        .0
        .iter()
        .map(|&chunk| read(chunk))
        .collect()
}

pub(super) fn cast<A, B>(values: Vec<A>, convert: impl Fn(A) -> B) -> Vec<B> {
    values.into_iter().map(convert).collect()
}

/// Codes of `bits` ≤ 8 bits each, the first in the lowest bits; `bytes` has been checked to hold them.
pub(super) fn unpack(bytes: &[u8], bits: usize, count: usize) -> impl Iterator<Item = u8> + '_ {
    (0..count).map(move |index| {
        let first = index * bits;
        let low = u16::from(bytes[first / 8]);
        let high = bytes.get(first / 8 + 1).map_or(0, |&byte| u16::from(byte));
        (((high << 8 | low) >> (first % 8)) & ((1 << bits) - 1)) as u8
    })
}

/// The low 6 bits of each number, packed from the lowest bit up.
pub(super) fn pack_6_bits(values: &[i32]) -> Vec<u8> {
    let mut bytes = vec![0u8; (values.len() * 6).div_ceil(8)];
    for (index, &value) in values.iter().enumerate() {
        let (first, code) = (index * 6, (value & 0x3f) as u16);
        let shifted = code << (first % 8);
        bytes[first / 8] |= shifted as u8;
        if let Some(byte) = bytes.get_mut(first / 8 + 1) {
            *byte |= (shifted >> 8) as u8;
        }
    }
    bytes
}

/// Little-endian bytes of all values, `N` each.
pub(super) fn le_bytes<const N: usize, T: Copy>(
    values: &[T],
    write: impl Fn(T) -> [u8; N],
) -> Vec<u8> {
    let mut bytes = vec![0u8; values.len() * N];
    let chunks = bytes.as_chunks_mut::<N>().0;
    for (chunk, &value) in chunks.iter_mut().zip(values) {
        *chunk = write(value);
    }
    bytes
}
