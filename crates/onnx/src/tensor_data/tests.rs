//! Every element type through every way of holding it, and every misfit refused.

use super::*;

fn tensor(kind: DataType, dims: &[i64]) -> TensorProto {
    TensorProto {
        name: Some("w".into()),
        dims: dims.to_vec(),
        data_type: Some(kind as i32),
        ..TensorProto::default()
    }
}

fn raw(kind: DataType, dims: &[i64], bytes: &[u8]) -> TensorProto {
    TensorProto {
        raw_data: Some(bytes.to_vec()),
        ..tensor(kind, dims)
    }
}

fn listed(kind: DataType, dims: &[i64], values: &[i32]) -> TensorProto {
    TensorProto {
        int32_data: values.to_vec(),
        ..tensor(kind, dims)
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T, OnnxError>) -> String {
    result.expect_err("refused").to_string()
}

#[test]
fn raw_data_reads_in_every_type() {
    let cases: [(DataType, &[u8], [f32; 2]); 17] = [
        (DataType::Float, &[0, 0, 128, 63, 0, 0, 0, 192], [1.0, -2.0]),
        (
            DataType::Double,
            &[0, 0, 0, 0, 0, 0, 240, 63, 0, 0, 0, 0, 0, 0, 0, 192],
            [1.0, -2.0],
        ),
        (DataType::Float16, &[0, 0x3c, 0, 0xc0], [1.0, -2.0]),
        (DataType::Bfloat16, &[0x80, 0x3f, 0, 0xc0], [1.0, -2.0]),
        (DataType::Float8e4m3fn, &[0x38, 0xc0], [1.0, -2.0]),
        (DataType::Float4e2m1, &[0xc2], [1.0, -2.0]),
        (DataType::Float6e2m3, &[0x08, 0x0c], [1.0, -2.0]),
        (DataType::Uint8, &[1, 254], [1.0, 254.0]),
        (DataType::Int8, &[1, 254], [1.0, -2.0]),
        (DataType::Uint16, &[1, 0, 254, 255], [1.0, 65534.0]),
        (DataType::Int16, &[1, 0, 254, 255], [1.0, -2.0]),
        (
            DataType::Int32,
            &[1, 0, 0, 0, 254, 255, 255, 255],
            [1.0, -2.0],
        ),
        (DataType::Uint4, &[0xe1], [1.0, 14.0]),
        (DataType::Int4, &[0xe1], [1.0, -2.0]),
        (DataType::Uint2, &[0b1001], [1.0, 2.0]),
        (DataType::Int2, &[0b1001], [1.0, -2.0]),
        (DataType::Bool, &[1, 0], [1.0, 0.0]),
    ];
    for (kind, bytes, expected) in cases {
        let tensor = raw(kind, &[2], bytes);
        assert_eq!(
            tensor.to_f32().expect("numbers"),
            expected,
            "{}",
            kind.name()
        );
        assert_eq!(tensor.to_f64().expect("numbers"), expected.map(f64::from));
        if kind.is_float() {
            assert!(reason(tensor.to_i64()).contains(kind.name()));
        } else {
            assert_eq!(
                tensor.to_i64().expect("numbers"),
                expected.map(|x| x as i64)
            );
        }
    }
}

#[test]
fn sixty_four_bit_integers_keep_their_value() {
    let big = i64::MAX - 1;
    let tensor = TensorProto::from_i64("n", &[2], &[big, -1]).expect("fits");
    assert_eq!(tensor.to_i64().expect("int64"), [big, -1]);
    let unsigned = raw(DataType::Uint64, &[1], &u64::MAX.to_le_bytes());
    assert_eq!(unsigned.to_f32().expect("uint64"), [u64::MAX as f32]);
    assert!(reason(unsigned.to_i64()).contains("18446744073709551615"));
    let small = raw(DataType::Uint64, &[1], &7u64.to_le_bytes());
    assert_eq!(small.to_i64().expect("uint64"), [7]);
}

#[test]
fn typed_lists_equal_raw_data() {
    let mut floats = tensor(DataType::Float, &[2]);
    floats.float_data = vec![1.5, -2.0];
    assert_eq!(floats.to_f32().expect("float_data"), [1.5, -2.0]);
    // Some writers leave an empty raw_data beside the list.
    floats.raw_data = Some(Vec::new());
    assert_eq!(floats.to_f32().expect("float_data"), [1.5, -2.0]);
    let mut doubles = tensor(DataType::Double, &[1]);
    doubles.double_data = vec![0.1];
    assert_eq!(doubles.to_f64().expect("double_data"), [0.1]);
    let mut longs = tensor(DataType::Int64, &[1]);
    longs.int64_data = vec![-9];
    assert_eq!(longs.to_i64().expect("int64_data"), [-9]);
    let mut unsigned = tensor(DataType::Uint32, &[1]);
    unsigned.uint64_data = vec![u64::from(u32::MAX)];
    assert_eq!(
        unsigned.to_i64().expect("uint64_data"),
        [i64::from(u32::MAX)]
    );
    unsigned.uint64_data = vec![1 << 32];
    assert!(reason(unsigned.to_i64()).contains("does not fit its 32 bits"));
}

#[test]
fn int32_data_holds_the_narrow_types() {
    let half = listed(DataType::Float16, &[2], &[0x3c00, 0xc000]);
    assert_eq!(half.to_f32().expect("float16"), [1.0, -2.0]);
    let signed_bits = listed(DataType::Float16, &[1], &[0xc000 - 0x10000]);
    assert_eq!(signed_bits.to_f32().expect("float16"), [-2.0]);
    let nibbles = listed(DataType::Int4, &[3], &[0xe1, 0x07]);
    assert_eq!(nibbles.to_i64().expect("int4"), [1, -2, 7]);
    let pairs = listed(DataType::Uint2, &[5], &[0b11100100, 1]);
    assert_eq!(pairs.to_i64().expect("uint2"), [0, 1, 2, 3, 1]);
    let sixes = listed(DataType::Float6e3m2, &[5], &[0x0c, 0x2c, 0x1f, 0x01, 0x3f]);
    assert_eq!(
        sixes.to_f32().expect("float6"),
        [1.0, -1.0, 28.0, 0.0625, -28.0]
    );
    let bools = listed(DataType::Bool, &[2], &[0, 1]);
    assert_eq!(bools.to_bool().expect("bool"), [false, true]);
    let too_large = listed(DataType::Uint8, &[1], &[256]);
    assert!(reason(too_large.to_f32()).contains("256 does not fit its 8 bits"));
}

#[test]
fn misfits_are_refused_with_both_numbers() {
    let message = reason(raw(DataType::Float, &[2, 3], &[0; 20]).to_f32());
    assert!(message.contains("\"w\": 20 bytes of raw data"), "{message}");
    assert!(
        message.contains("[2, 3]") && message.contains("need 24"),
        "{message}"
    );
    let message = reason(listed(DataType::Int32, &[3], &[1]).to_i64());
    assert!(
        message.contains("1 numbers in int32_data") && message.contains("need 3"),
        "{message}"
    );
    assert!(reason(raw(DataType::Float, &[-1], &[]).to_f32()).contains("legal are 0 and up"));
    let huge = raw(DataType::Float, &[1 << 40, 1 << 40], &[]);
    assert!(reason(huge.to_f32()).contains("overflow"));
    // The count fits, the bytes do not.
    let wide = raw(DataType::Complex128, &[1 << 61], &[]);
    assert!(reason(wide.raw_bytes()).contains("overflow"));
    let large = raw(DataType::Float, &[1 << 50], &[]);
    assert!(reason(large.to_f32()).contains("need 4503599627370496"));
}

#[test]
fn what_is_no_plain_number_is_refused() {
    let complex = raw(DataType::Complex64, &[1], &[0; 8]);
    assert!(reason(complex.to_f32()).contains("COMPLEX64"));
    let strings = tensor(DataType::String, &[1]);
    assert!(reason(strings.to_f32()).contains("strings"));
    assert!(reason(tensor(DataType::Undefined, &[1]).to_f32()).contains("no element type"));
    let mut unknown = tensor(DataType::Float, &[1]);
    unknown.data_type = Some(99);
    assert!(reason(unknown.to_f32()).contains("unknown element type 99"));
    let mut external = tensor(DataType::Float, &[1]);
    external.data_location = Some(DataLocation::External as i32);
    assert!(reason(external.to_f32()).contains("another file"));
    let mut segment = raw(DataType::Float, &[1], &[0; 4]);
    segment.segment = Some(crate::model::tensor_proto::Segment::default());
    assert!(reason(segment.to_f32()).contains("segment"));
    assert!(reason(raw(DataType::Uint8, &[1], &[1]).to_bool()).contains("UINT8, not BOOL"));
}

#[test]
fn set_f32_keeps_the_type_and_drops_the_old_data() {
    let values = [1.0f32, -0.1, 65504.0];
    for (kind, expected) in [
        (DataType::Float, values),
        (DataType::Double, values),
        (DataType::Float16, values.map(|x| f16::from_f32(x).to_f32())),
        (
            DataType::Bfloat16,
            values.map(|x| bf16::from_f32(x).to_f32()),
        ),
    ] {
        let mut tensor = listed(kind, &[3], &[0, 0, 0]);
        tensor.float_data = vec![9.0; 3];
        tensor.set_f32(&values).expect("numbers");
        assert_eq!(tensor.data_type, Some(kind as i32));
        assert_eq!(tensor.typed_length(), 0);
        assert_eq!(tensor.to_f32().expect("numbers"), expected);
    }
    let mut bytes = raw(DataType::Int8, &[3], &[0; 3]);
    assert!(reason(bytes.set_f32(&values)).contains("INT8"));
    let mut short = tensor(DataType::Float, &[2]);
    assert!(reason(short.set_f32(&values)).contains("3 values"));
    assert_eq!(short, tensor(DataType::Float, &[2]));
}

#[test]
fn scalars_hold_one_and_empty_tensors_nothing() {
    let scalar = TensorProto::from_f32("s", &[], &[3.0]).expect("one value");
    assert_eq!(scalar.element_count().expect("scalar"), 1);
    let empty = TensorProto::from_f32("e", &[0, usize::MAX >> 1, 9], &[]).expect("no value");
    assert_eq!(empty.to_f32().expect("empty"), [0f32; 0]);
    assert!(reason(TensorProto::from_f32("x", &[2], &[1.0])).contains("need 8"));
}
