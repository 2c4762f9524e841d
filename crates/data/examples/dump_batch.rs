//! Writes a card's inputs as `.npy` files, one a batch, with the labels in a text file, so that other programs
//! can be fed with exactly what a network would see: `dump_batch CARD FOLDER [BATCH]`.
//! With a folder of outputs (`batch-0000.out.npy`, float32) it scores them: `dump_batch CARD FOLDER BATCH OUTPUTS`.

use ndarray::{ArrayD, IxDyn};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use tqz_data::{DataSet, OpenOptions, Scorer, Truth};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [card, folder, rest @ ..] = &arguments[..] else {
        return Err("usage: dump_batch CARD FOLDER [BATCH [OUTPUTS]]".into());
    };
    let size = rest.first().map_or(Ok(64), |text| text.parse())?;
    let set = DataSet::open_card(Path::new(card), &OpenOptions::default())?;
    match rest.get(1) {
        Some(outputs) => score(&set, size, Path::new(outputs)),
        None => dump(&set, size, Path::new(folder)),
    }
}

fn dump(set: &DataSet, size: usize, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let mut labels = String::new();
    for (i, batch) in set.batches(size).enumerate() {
        let batch = batch?;
        write_npy(
            &batch_path(folder, i, "in"),
            batch.input.shape(),
            batch.input.iter(),
        )?;
        for (k, truth) in batch.truths.iter().enumerate() {
            match truth {
                Truth::Label(label) => labels.push_str(&format!("{label}\n")),
                Truth::Image(image) => {
                    let path = folder.join(format!("truth-{:04}.npy", batch.first + k));
                    write_npy(&path, image.shape(), image.iter())?;
                }
                Truth::None => labels.push_str("-1\n"),
            }
        }
    }
    Ok(fs::write(folder.join("labels.txt"), labels)?)
}

fn score(set: &DataSet, size: usize, folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut scorer = Scorer::new(set.task());
    for (i, batch) in set.batches(size).enumerate() {
        let output = read_npy(&batch_path(folder, i, "out"))?;
        let path = batch_path(folder, i, "ref");
        let reference = path.exists().then(|| read_npy(&path)).transpose()?;
        scorer.add_batch(&batch?, output.view(), reference.as_ref().map(|r| r.view()))?;
    }
    let scores = serde_json::to_string(&scorer.finish())?;
    Ok(std::io::Write::write_all(
        &mut std::io::stdout(),
        format!("{scores}\n").as_bytes(),
    )?)
}

fn batch_path(folder: &Path, index: usize, kind: &str) -> PathBuf {
    folder.join(format!("batch-{index:04}.{kind}.npy"))
}

fn write_npy<'a>(
    path: &Path,
    shape: &[usize],
    values: impl Iterator<Item = &'a f32>,
) -> Result<(), Box<dyn Error>> {
    let dims: Vec<String> = shape.iter().map(|d| format!("{d},")).collect();
    let header = format!(
        "{{'descr': '<f4', 'fortran_order': False, 'shape': ({}), }}\n",
        dims.join(" ")
    );
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.bytes());
    bytes.extend(values.flat_map(|v| v.to_le_bytes()));
    Ok(fs::write(path, bytes)?)
}

/// Reads what numpy writes for C-ordered float32.
fn read_npy(path: &Path) -> Result<ArrayD<f32>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + length])?;
    let (_, shape) = header.split_once("'shape': (").ok_or("no shape")?;
    let (shape, _) = shape.split_once(')').ok_or("no shape")?;
    let dims = shape
        .split(',')
        .map(str::trim)
        .filter(|d| !d.is_empty())
        .map(str::parse)
        .collect::<Result<Vec<usize>, _>>()?;
    let values = bytes[10 + length..]
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    Ok(ArrayD::from_shape_vec(IxDyn(&dims), values)?)
}
