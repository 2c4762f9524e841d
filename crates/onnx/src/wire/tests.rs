//! The map of fields against prost's own knowledge, and each kind of malformed message.

use prost::Message;
use prost::encoding::{encode_key, encode_varint};

use super::schema::{Kind, Schema};
use super::*;
use crate::model::*;

/// The chain of "Message.field" that prost names when field `number` of `M` holds something impossible.
fn prost_names<M: Message + Default>(number: u32, wire: WireType, value: &[u8]) -> String {
    let mut bytes = Vec::new();
    encode_key(number, wire, &mut bytes);
    bytes.extend_from_slice(value);
    M::decode(&bytes[..]).map_or_else(|error| error.to_string(), |_| "accepted".into())
}

fn check_schema<M: Message + Default>(schema: &Schema) {
    assert_eq!(schema.size, size_of::<M>(), "{}", schema.name);
    for number in 1..=LAST_KEPT_FIELD + 5 {
        // An open group: every declared field refuses it under its own name.
        let names = prost_names::<M>(number, WireType::StartGroup, &[]);
        let Some(field) = schema.field(number) else {
            let kept = names.contains(&format!("{}.unknown", schema.name));
            assert_eq!(
                kept,
                number <= LAST_KEPT_FIELD,
                "{} {number}: {names}",
                schema.name
            );
            continue;
        };
        // Errors in a oneof carry the oneof's name, not the alternative's.
        let oneof = match (schema.name, number) {
            ("TypeProto", 1 | 4 | 5 | 7 | 8 | 9) | ("Dimension", 1 | 2) => Some("value"),
            ("SimpleShardedDimProto", 1 | 2) => Some("dim"),
            _ => None,
        };
        let expected = format!("{}.{}: ", schema.name, oneof.unwrap_or(field.name));
        let names = names.replace("r#", "");
        assert!(
            names.contains(&expected),
            "{} {number}: {names}",
            schema.name
        );
        check_kind::<M>(schema, field);
    }
}

fn check_kind<M: Message + Default>(schema: &Schema, field: &Field) {
    let at = format!("{}.{}", schema.name, field.name);
    let accepts = |wire, value: &[u8]| prost_names::<M>(field.number, wire, value) == "accepted";
    let (varint, fixed4) = (
        accepts(WireType::Varint, &[1]),
        accepts(WireType::ThirtyTwoBit, &[0; 4]),
    );
    let fixed8 = accepts(WireType::SixtyFourBit, &[0; 8]);
    let delimited = accepts(WireType::LengthDelimited, &[0]);
    let not_text = accepts(WireType::LengthDelimited, &[1, 0xff]);
    let found = (varint, fixed4, fixed8, delimited, not_text);
    let expected = match field.kind {
        Kind::Varint => (true, false, false, false, false),
        Kind::Varints => (true, false, false, true, false),
        Kind::Fixed4 => (false, true, false, false, false),
        Kind::Fixed4s => (false, true, false, true, false),
        Kind::Fixed8s => (false, false, true, true, false),
        Kind::Text | Kind::Texts => (false, false, false, true, false),
        Kind::Bytes | Kind::BytesList => (false, false, false, true, true),
        Kind::One | Kind::Boxed | Kind::Many => (false, false, false, true, false),
    };
    assert_eq!(found, expected, "{at}");
    if let Some(message) = field.message {
        // Inside, number 1 of another form: prost names the inner message.
        let names = prost_names::<M>(field.number, WireType::LengthDelimited, &[1, 0x0b]);
        assert!(
            names.contains(&format!("{}.", message.name)),
            "{at}: {names}"
        );
    }
    check_repetition::<M>(schema, field);
}

/// A list comes back with two elements, anything else as one.
fn check_repetition<M: Message + Default>(schema: &Schema, field: &Field) {
    let at = format!("{}.{}", schema.name, field.name);
    let mut once = Vec::new();
    let (wire, value): (_, &[u8]) = match field.kind {
        Kind::Varint | Kind::Varints => (WireType::Varint, &[1]),
        Kind::Fixed4 | Kind::Fixed4s => (WireType::ThirtyTwoBit, &[1, 2, 3, 4]),
        Kind::Fixed8s => (WireType::SixtyFourBit, &[1, 2, 3, 4, 5, 6, 7, 8]),
        _ => (WireType::LengthDelimited, &[0]),
    };
    encode_key(field.number, wire, &mut once);
    once.extend_from_slice(value);
    let twice = [&once[..], &once[..]].concat();
    let lengths =
        [&once, &twice].map(|bytes| M::decode(&bytes[..]).expect("well formed").encoded_len());
    let list = matches!(
        field.kind,
        Kind::Many | Kind::Varints | Kind::Fixed4s | Kind::Fixed8s | Kind::Texts | Kind::BytesList
    );
    assert_eq!(lengths[1] > lengths[0], list, "{at}");
}

/// The schema reached from the model by field names.
fn at(path: &[&str]) -> &'static Schema {
    path.iter().fold(&messages::MODEL, |schema, name| {
        let field = schema
            .fields
            .iter()
            .find(|field| field.name == *name)
            .expect(name);
        field.message.expect(name)
    })
}

#[test]
fn the_map_of_fields_equals_the_messages() {
    check_schema::<ModelProto>(&messages::MODEL);
    check_schema::<GraphProto>(at(&["graph"]));
    check_schema::<NodeProto>(at(&["graph", "node"]));
    check_schema::<AttributeProto>(at(&["graph", "node", "attribute"]));
    check_schema::<FunctionProto>(at(&["functions"]));
    check_schema::<TrainingInfoProto>(at(&["training_info"]));
    check_schema::<OperatorSetIdProto>(at(&["opset_import"]));
    check_schema::<StringStringEntryProto>(at(&["metadata_props"]));
    check_schema::<TensorProto>(at(&["graph", "initializer"]));
    check_schema::<tensor_proto::Segment>(at(&["graph", "initializer", "segment"]));
    check_schema::<SparseTensorProto>(at(&["graph", "sparse_initializer"]));
    check_schema::<TensorAnnotation>(at(&["graph", "quantization_annotation"]));
    check_schema::<ValueInfoProto>(at(&["graph", "input"]));
    let value_type = ["graph", "input", "type"];
    check_schema::<TypeProto>(at(&value_type));
    let below = |name| at(&[&value_type[..], &[name]].concat());
    check_schema::<type_proto::Tensor>(below("tensor_type"));
    check_schema::<type_proto::Sequence>(below("sequence_type"));
    check_schema::<type_proto::Map>(below("map_type"));
    check_schema::<type_proto::Opaque>(below("opaque_type"));
    check_schema::<type_proto::SparseTensor>(below("sparse_tensor_type"));
    check_schema::<type_proto::Optional>(below("optional_type"));
    let shape = ["graph", "input", "type", "tensor_type", "shape"];
    check_schema::<TensorShapeProto>(at(&shape));
    check_schema::<tensor_shape_proto::Dimension>(at(&[&shape[..], &["dim"]].concat()));
    check_schema::<DeviceConfigurationProto>(at(&["configuration"]));
    let device = ["graph", "node", "device_configurations"];
    check_schema::<NodeDeviceConfigurationProto>(at(&device));
    let spec = [&device[..], &["sharding_spec"]].concat();
    check_schema::<ShardingSpecProto>(at(&spec));
    let dim = [&spec[..], &["sharded_dim"]].concat();
    check_schema::<ShardedDimProto>(at(&dim));
    check_schema::<SimpleShardedDimProto>(at(&[&dim[..], &["simple_sharding"]].concat()));
    check_schema::<IntIntListEntryProto>(at(&[&spec[..], &["index_to_device_group_map"]].concat()));
}

/// A field of wire type 2.
fn delimited(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

fn message_of(bytes: &[u8]) -> String {
    scan_model(bytes).expect_err("malformed").to_string()
}

#[test]
fn errors_name_the_field_and_the_byte() {
    let good_node = delimited(1, &delimited(4, b"Relu"));
    // Second node: a domain that claims nine bytes and has two.
    let bad_node = delimited(1, &[0x3a, 9, b'a', b'b']);
    let model = delimited(7, &[&good_node[..], &bad_node[..]].concat());
    let message = message_of(&model);
    assert!(message.contains("graph.node[1].domain"), "{message}");
    assert!(message.contains("at byte 12 of 16"), "{message}");
    assert!(
        message.contains("9 bytes") && message.contains("2 left"),
        "{message}"
    );
}

#[test]
fn every_malformed_form_is_refused() {
    let long = [0xff; 11];
    let cases: [(&[u8], &str); 13] = [
        (
            &[0x80],
            "ModelProto, at byte 0 of 1: the field's key is cut short",
        ),
        (
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
            "larger than 32 bits",
        ),
        (&[0x02, 0x00], "field number 0"),
        (&[0x0e], "wire type 6"),
        (&[0x0b], "a group"),
        (
            &[0x08],
            "ir_version, at byte 0 of 1: the integer is cut short",
        ),
        (
            &[
                0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            "longer than 10",
        ),
        (
            &[0x12, 0x80],
            "producer_name, at byte 0 of 2: the length is cut short",
        ),
        (
            &[0x12, 0x02, 0xc3, 0x28],
            "producer_name, at byte 0 of 4: the text is not UTF-8",
        ),
        (
            &[0x10, 0x01],
            "producer_name, at byte 0 of 2: wire type Varint; legal is LengthDelimited",
        ),
        (
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            "0 left",
        ),
        (&[0xc8, 0x02, 0x01], "field number 41 is in no version"),
        (&long, "cut short"),
    ];
    for (bytes, expected) in cases {
        let message = message_of(bytes);
        assert!(message.contains(expected), "{bytes:02x?}: {message}");
    }
}

#[test]
fn packed_lists_must_fit_their_unit() {
    let tensor = |field: Vec<u8>| delimited(7, &delimited(5, &field));
    let message = message_of(&tensor(delimited(4, &[0; 7])));
    assert!(
        message.contains("graph.initializer[0].float_data"),
        "{message}"
    );
    let message = message_of(&tensor(delimited(7, &[1, 0x80])));
    assert!(message.contains("packed integer is cut short"), "{message}");
    scan_model(&tensor(delimited(10, &[0; 16]))).expect("two doubles");
}

#[test]
fn deep_nesting_is_refused_before_the_stack_ends() {
    // The content of a graph whose node holds a graph, and so on.
    let mut bytes = Vec::new();
    for _ in 0..4000 {
        bytes = delimited(1, &delimited(5, &delimited(6, &bytes)));
    }
    let message = message_of(&delimited(7, &bytes));
    assert!(message.contains("nested deeper than 100"), "{message}");
    assert!(
        message.contains("graph.node[0].attribute[0].g.node[0]"),
        "{message}"
    );
}

#[test]
fn empty_messages_cannot_fill_the_memory() {
    // Nodes of one empty attribute each: the worst ratio of memory to file.
    let node = delimited(1, &delimited(5, &[]));
    let model = delimited(7, &node.repeat(1 << 18));
    let message = message_of(&model);
    assert!(message.contains("bytes of memory"), "{message}");
    let few = delimited(7, &node.repeat(1 << 10));
    scan_model(&few).expect("a thousand are no danger");
}

#[test]
#[ignore = "needs shared/"]
fn shared_models_take_far_less_memory_than_the_limit() {
    let shared = crate::test_support::shared();
    for path in crate::test_support::files(&shared.join("models"), "onnx") {
        let bytes = std::fs::read(&path).expect("readable");
        let memory = scan(&bytes, &messages::MODEL).expect("well formed");
        assert!(
            memory <= 2 * bytes.len() + (4 << 20),
            "{}: {memory} bytes",
            path.display()
        );
    }
}

/// A message with every field set, in order of the numbers; lists have two elements. Of the
/// alternatives of a oneof, number `choice` (counted around) is taken.
fn every_field(schema: &Schema, choice: usize, depth: usize) -> Vec<u8> {
    let oneof: &[u32] = match schema.name {
        "TypeProto" => &[1, 4, 5, 7, 8, 9],
        "Dimension" | "SimpleShardedDimProto" => &[1, 2],
        _ => &[],
    };
    let chosen = oneof.get(choice % oneof.len().max(1));
    let mut bytes = Vec::new();
    for field in schema.fields {
        let recursive = field.message.is_some() && depth == 0;
        if recursive || oneof.contains(&field.number) && chosen != Some(&field.number) {
            continue;
        }
        // After an alternative with a higher number than its own, prost writes it in another order.
        if schema.name == "TypeProto" && field.name == "denotation" && chosen > Some(&6) {
            continue;
        }
        let content = match field.message {
            Some(message) => every_field(message, choice + 1, depth - 1),
            None => field.name.as_bytes().to_vec(),
        };
        match field.kind {
            Kind::Varint => bytes.extend(varint_field(field.number, 1)),
            // The lists of tensors are packed, all others are not.
            Kind::Varints if schema.name == "TensorProto" && field.number > 1 => {
                bytes.extend(delimited(field.number, &[7, 9]));
            }
            Kind::Fixed4s if schema.name == "TensorProto" => {
                bytes.extend(delimited(field.number, &[1; 8]));
            }
            Kind::Fixed8s => bytes.extend(delimited(field.number, &[1; 16])),
            Kind::Varints => bytes.extend([0, 300].map(|v| varint_field(field.number, v)).concat()),
            Kind::Fixed4 => bytes.extend(fixed4_field(field.number)),
            Kind::Fixed4s => bytes.extend(fixed4_field(field.number).repeat(2)),
            Kind::Text | Kind::Bytes | Kind::One | Kind::Boxed => {
                bytes.extend(delimited(field.number, &content));
            }
            Kind::Texts | Kind::BytesList | Kind::Many => {
                bytes.extend(delimited(field.number, &content));
                bytes.extend(delimited(field.number, &[]));
            }
        }
    }
    bytes
}

fn varint_field(number: u32, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::Varint, &mut bytes);
    encode_varint(value, &mut bytes);
    bytes
}

fn fixed4_field(number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::ThirtyTwoBit, &mut bytes);
    bytes.extend([1, 2, 3, 4]);
    bytes
}

#[test]
fn every_field_survives_byte_for_byte() {
    for choice in 0..6 {
        let bytes = every_field(&messages::MODEL, choice, 6);
        let model = crate::decode_model(&bytes).expect("well formed");
        assert!(crate::encode_model(&model) == bytes, "choice {choice}");
    }
}

#[test]
fn fields_without_a_value_stay_apart_from_fields_with_zero() {
    let with_zero = [varint_field(1, 0), varint_field(5, 0), delimited(2, b"")].concat();
    let model = ModelProto::decode(&with_zero[..]).expect("well formed");
    assert_eq!((model.ir_version, model.model_version), (Some(0), Some(0)));
    assert_eq!(
        (model.producer_name.as_deref(), model.domain.as_deref()),
        (Some(""), None)
    );
    assert_eq!(model.encoded_len(), with_zero.len());
}

#[test]
fn unknown_fields_of_every_form_survive_in_every_message() {
    let unknown = [
        varint_field(LAST_KEPT_FIELD, 1 << 40),
        fixed4_field(39),
        delimited(38, b"later"),
        vec![0xb1, 2, 1, 2, 3, 4, 5, 6, 7, 8],
        varint_field(LAST_KEPT_FIELD, 0),
    ]
    .concat();
    fn survive<M: Message + Default + PartialEq>(unknown: &[u8]) {
        let message = M::decode(unknown).expect("well formed");
        assert_eq!(message.encode_to_vec(), unknown);
    }
    survive::<ModelProto>(&unknown);
    survive::<NodeProto>(&unknown);
    survive::<tensor_shape_proto::Dimension>(&unknown);
    survive::<type_proto::Optional>(&unknown);
    let nested = delimited(7, &delimited(1, &unknown));
    scan_model(&nested).expect("numbers up to the last kept are let through");
    survive::<ModelProto>(&nested);
    let cut = ModelProto::decode(&delimited(38, b"later")[..4]);
    assert!(cut.is_err());
}
