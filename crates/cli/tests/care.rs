//! What the program refuses before it does harm or does nothing: names that clash, options without effect, inputs that are not what
//! they seem.

mod desk;

use desk::{Desk, assets};
use tqz_onnx::model::{
    ModelProto, NodeProto, TensorProto, tensor_shape_proto::dimension::Value as Extent, type_proto,
};
use tqz_onnx::{ExternalData, WriteOptions, write_model_with};

fn write(desk: &Desk, name: &str, bytes: impl AsRef<[u8]>) {
    std::fs::write(desk.path(name), bytes).expect("written");
}

/// A picture of one colour.
fn bitmap(side: u32, value: u8) -> Vec<u8> {
    let row = (3 * side).next_multiple_of(4);
    let size = row * side;
    let mut bytes = b"BM".to_vec();
    for word in [
        54 + size,
        0,
        54,
        40,
        side,
        side,
        1 | 24 << 16,
        0,
        size,
        0,
        0,
        0,
        0,
    ] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(vec![value; size as usize]);
    bytes
}

/// A card as the demo's, of class folders that are not there.
const CARD: &str = "[source]\npath = \"nowhere\"\nkind = \"class-folders\"\nfolder = \"deep\"\nclasses = [\"cat\", \"dog\"]\n\
                    [preprocess]\nscale = \"1/255\"\nmean = 0.5\nstd = 0.25\n[task]\nkind = \"classify\"\n";

/// The demo network, its input's extents set by a function of their place.
fn with_extents(extent: impl Fn(usize) -> Extent) -> ModelProto {
    let mut model = tqz_onnx::read_model(&assets("demo.onnx")).expect("readable");
    let graph = model.graph.as_mut().expect("a graph");
    let of = graph.input[0].r#type.as_mut().expect("a type");
    let Some(type_proto::Value::TensorType(tensor)) = of.value.as_mut() else {
        panic!("the input is a tensor");
    };
    let axes = tensor.shape.as_mut().expect("a shape").dim.iter_mut();
    axes.enumerate()
        .for_each(|(axis, dim)| dim.value = Some(extent(axis)));
    model
}

/// The demo network with free extents, which runs at its own 32 × 32 alone: there is an array of that shape to be added.
fn choosy() -> ModelProto {
    let mut model = with_extents(|axis| Extent::DimParam(format!("d{axis}")));
    let graph = model.graph.as_mut().expect("a graph");
    let input = graph.input[0].name().to_owned();
    for node in &mut graph.node {
        let inputs = node.input.iter_mut().filter(|name| **name == input);
        inputs.for_each(|name| *name = "shifted".to_owned());
    }
    let zeros = TensorProto::from_f32("shift", &[1, 3, 32, 32], &[0.0; 3 * 32 * 32]);
    graph.initializer.push(zeros.expect("a tensor"));
    let add = NodeProto {
        input: vec![input, "shift".to_owned()],
        output: vec!["shifted".to_owned()],
        op_type: Some("Add".to_owned()),
        ..NodeProto::default()
    };
    graph.node.insert(0, add);
    model
}

#[test]
fn outputs_are_never_written_over_what_is_read() {
    let desk = Desk::new();
    desk.json("compress MODEL --calib CALIB --images 4 --preset fast --bits 4 -o d.tqz");
    desk.json("calibrate MODEL --calib CALIB --images 4 -o m.stats");
    for (name, asset) in [
        ("m.onnx", "demo.onnx"),
        ("c.toml", "demo-calib.toml"),
        ("c.npz", "demo-calib.npz"),
    ] {
        std::fs::copy(assets(asset), desk.path(name)).expect("copied");
    }
    write(&desk, "a.npy", "an array");
    for (line, kept) in [
        (
            "calibrate m.onnx --calib CALIB --images 4 -o m.onnx",
            "m.onnx",
        ),
        (
            "calibrate MODEL --calib c.toml --images 4 -o ./c.toml",
            "c.toml",
        ),
        (
            "calibrate MODEL --calib CALIB --source c.npz --images 4 -o c.npz",
            "c.npz",
        ),
        ("decompress d.tqz -o d.tqz", "d.tqz"),
        ("export d.tqz -o d.tqz", "d.tqz"),
        (
            "export d.tqz --form int8 --calib c.toml -o c.toml",
            "c.toml",
        ),
        ("run m.onnx --input a.npy -o a.npy", "a.npy"),
        ("run m.onnx --input a.npy -o m.onnx", "m.onnx"),
        ("merge m.stats -o m.stats", "m.stats"),
        (
            "retrain MODEL --data CALIB --source c.npz --from d.tqz --steps 1 -o c.npz",
            "c.npz",
        ),
    ] {
        let before = desk.read(kept);
        let told = desk.refused(&format!("{line} --force"), 2);
        assert!(told.contains(kept), "{told}");
        assert!(desk.read(kept) == before, "{line}");
    }
    let options = WriteOptions {
        external: ExternalData::Always,
        external_from_bytes: 0,
        ..WriteOptions::default()
    };
    let model = tqz_onnx::read_model(&assets("demo.onnx")).expect("readable");
    write_model_with(&desk.path("apart.onnx"), &model, &options).expect("written");
    let tensors = "apart.onnx.data";
    let before = desk.read(tensors);
    assert!(before.len() > 1000);
    for line in [
        "compress apart.onnx --calib CALIB --images 4 --bits 4 -o",
        "calibrate apart.onnx --calib CALIB --images 4 -o",
        "retrain apart.onnx --data CALIB --images 4 --bits 4 --steps 1 -o",
        "retrain apart.onnx --data CALIB --images 4 --bits 4 --steps 1 -o a.tqz --log",
        "run apart.onnx --input a.npy -o",
    ] {
        let told = desk.refused(&format!("{line} {tensors} --force"), 2);
        assert!(told.contains("holds tensors of"), "{told}");
        assert!(desk.read(tensors) == before, "{line}");
    }
    let told = desk.refused("merge m.stats m.stats -o all.stats", 1);
    assert!(told.contains("m.stats"), "{told}");
}

#[test]
fn options_that_would_do_nothing_are_wrong_usage() {
    let desk = Desk::new();
    let compress = "compress MODEL --calib CALIB --images 4 --bits 4 -o a.tqz";
    for more in [
        "--blocks 3",
        "--step-by weights",
        "--preset fast --order stored",
        "--preset paper --lambda 0",
        "--preset paper --no-feedback",
    ] {
        let option = more.split_whitespace().rfind(|word| word.starts_with("--"));
        let told = desk.refused(&format!("{compress} {more}"), 2);
        assert!(told.contains(option.expect("an option")), "{told}");
    }
    for more in ["--calib CALIB", "--clip none", "--seven-bits", "--images 3"] {
        desk.refused(&format!("export d.tqz -o a.onnx {more}"), 2);
        desk.refused(&format!("decompress d.tqz -o a.onnx {more}"), 2);
    }
    let told = desk.refused("run MODEL --input nowhere.npy --card CALIB", 2);
    assert!(told.contains("leave --card out"), "{told}");
    desk.refused("bench MODEL --seconds -1", 2);
    desk.refused("bench MODEL --seconds nan", 2);
    let told = desk.refused(
        &format!("{compress} --preset paper --measured-curves nowhere/c.csv"),
        1,
    );
    assert!(told.contains("no folder nowhere"), "{told}");
}

#[test]
fn networks_are_not_timed_with_batches_that_they_do_not_take() {
    let desk = Desk::new();
    let fixed = with_extents(|axis| Extent::DimValue([2, 3, 32, 32][axis]));
    write(&desk, "fixed.onnx", tqz_onnx::encode_model(&fixed));
    let told = desk.refused(
        "bench fixed.onnx --seconds 0 --run-threads 1 --batch 1,2",
        2,
    );
    assert!(
        told.contains("fixed.onnx") && told.contains("--batch 2"),
        "{told}"
    );
    for more in ["--batch 2", ""] {
        let timed = desk.json(&format!(
            "bench fixed.onnx MODEL --seconds 0 --run-threads 1 {more}"
        ));
        assert_eq!(timed["rows"][0]["batch"], 2);
        assert_eq!(timed["rows"].as_array().map(Vec::len), Some(2));
    }
}

#[test]
fn costs_are_of_an_input_that_the_network_takes() {
    let desk = Desk::new();
    write(&desk, "choosy.onnx", tqz_onnx::encode_model(&choosy()));
    let path = |name: &str| assets(name).display().to_string().replace('\\', "/");
    let sweep = format!(
        "title = \"choosy\"\nbits = [2.0]\npresets = [\"fast\"]\nmacs = [1.0]\n[[network]]\nname = \"choosy\"\nmodel = \"choosy.onnx\"\n\
         calib = {{ card = \"{}\", images = 8 }}\ntest = {{ card = \"{}\", images = 8 }}\n",
        path("demo-calib.toml"),
        path("demo-test.toml")
    );
    write(&desk, "sweep.toml", sweep);
    let made = desk.json("sweep sweep.toml -o out");
    assert!(made["points"][0]["macs_percent"].is_number(), "{made}");
    let limited = "compress choosy.onnx --bits 4 --macs 1 -o a.tqz --preset fast";
    let made = desk.json(&format!("{limited} --calib CALIB --images 8"));
    assert!(made["macs_percent"].is_number(), "{made}");
    desk.json("calibrate choosy.onnx --calib CALIB --images 8 -o a.stats");
    let told = desk.refused(&format!("{limited} --stats a.stats --force"), 1);
    assert!(told.contains("give calibration images"), "{told}");
}

#[test]
fn images_of_all_sizes_or_none_are_run() {
    let desk = Desk::new();
    write(&desk, "card.toml", CARD);
    write(&desk, "one.bmp", bitmap(32, 100));
    let run = |input: &str, card: &str| format!("run MODEL --input {input} --card {card}");
    // Of one image it does not matter what the card says of its own source.
    let alone = desk.json(&run("one.bmp", "card.toml"));
    assert_eq!(alone["outputs"][0]["shape"][0], 1);
    write(&desk, "broken.bmp", &bitmap(32, 100)[..80]);
    let told = desk.refused(&run("broken.bmp", "card.toml"), 1);
    assert!(told.contains("cannot read broken.bmp"), "{told}");

    write(&desk, "plain.toml", "[source]\npath = \"x\"\n");
    std::fs::create_dir(desk.path("all")).expect("made");
    for (name, side) in [("a", 32), ("b", 32), ("c", 24)] {
        write(&desk, &format!("all/{name}.bmp"), bitmap(side, 7));
    }
    let told = desk.refused(&run("all", "plain.toml"), 1);
    assert!(
        told.contains("c.bmp") && told.contains("[3, 24, 24]"),
        "{told}"
    );
    std::fs::remove_file(desk.path("all/c.bmp")).expect("there");
    let both = desk.json(&run("all", "plain.toml"));
    assert_eq!(both["outputs"][0]["shape"][0], 2);
}

#[test]
fn retraining_keeps_logs_and_names_its_start() {
    let desk = Desk::new();
    desk.json("compress MODEL --calib CALIB --images 8 --preset fast --bits 2 -o start.tqz");
    write(&desk, "l.csv", "a line of an earlier run\n");
    let line = |from: &str| {
        format!(
            "retrain MODEL --data CALIB --images 20 --from {from} --steps 2 --batch 4 -o r.tqz --log l.csv --resume"
        )
    };
    write(&desk, "bad.tqz", "no network");
    let told = desk.refused(&line("bad.tqz"), 1);
    assert!(told.contains("bad.tqz"), "{told}");
    desk.json(&line("start.tqz"));
    let log = String::from_utf8(desk.read("l.csv")).expect("text");
    assert!(
        log.starts_with("a line of an earlier run\n") && log.lines().count() > 2,
        "{log}"
    );
}

#[test]
fn a_sweep_leaves_pages_of_others_alone() {
    let desk = Desk::new();
    let sweep = "title = \"t\"\nbits = [2.0]\n[[network]]\nname = \"n\"\nmodel = \"missing.onnx\"\n\
                 calib = { card = \"c.toml\" }\ntest = { card = \"c.toml\" }\n";
    write(&desk, "sweep.toml", sweep);
    std::fs::create_dir(desk.path("out")).expect("made");
    write(&desk, "out/index.html", "my page");
    let told = desk.refused("sweep sweep.toml -o out", 1);
    assert!(
        told.contains("index.html") && told.contains("--force"),
        "{told}"
    );
    // Where nothing was made there is no page either.
    let told = desk.refused("sweep sweep.toml -o out --force", 1);
    assert!(told.contains("missing.onnx"), "{told}");
    assert_eq!(desk.read("out/index.html"), b"my page");
}
