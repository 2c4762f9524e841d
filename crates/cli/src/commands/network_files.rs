//! The files that a network lies in: the .onnx file and those beside it that its tensors name.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::open;
use crate::output::{Usage, whole};

/// Bytes that are read at a time.
const CHUNK: usize = 1 << 16;

/// The file and those that hold its tensors' data, each once.
///
/// # Errors
/// A file that is no network.
pub(crate) fn network_files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let model = tqz_onnx::read_model_keep_external(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut others = BTreeSet::new();
    tqz_onnx::visit::tensors(&model, |_, tensor| {
        let mut entries = tensor.external_data.iter();
        let location = entries.rfind(|entry| entry.key() == "location");
        if let Some(location) = location.filter(|_| tensor.is_external()) {
            others.insert(folder.join(location.value()));
        }
    });
    Ok(std::iter::once(path.to_owned()).chain(others).collect())
}

/// Refuses to write over the files of a network's tensors.
///
/// # Errors
/// The name of one among those that are to be written.
pub(crate) fn check_apart_from_tensors(network: &Path, written: &[&Path]) -> anyhow::Result<()> {
    // What is wrong with a network is told when it is read.
    let Ok(files) = network_files(network) else {
        return Ok(());
    };
    let beside: Vec<PathBuf> = files[1..].iter().map(|file| whole(file)).collect();
    match written.iter().find(|path| beside.contains(&whole(path))) {
        None => Ok(()),
        Some(path) => Err(Usage::new(format!(
            "{} holds tensors of {}; give what is written another name",
            path.display(),
            network.display()
        ))
        .into()),
    }
}

/// Bytes of a network on disk, with those of its tensors that lie beside it.
///
/// # Errors
/// A file that cannot be read or is no network.
pub(crate) fn network_bytes(path: &Path) -> anyhow::Result<u64> {
    let size = |file: PathBuf| {
        let about = std::fs::metadata(&file);
        let about = about.with_context(|| format!("cannot read {}", file.display()));
        about.map(|about| about.len())
    };
    network_files(path)?.into_iter().map(size).sum()
}

/// Takes a file's length and bytes into a checksum.
///
/// # Errors
/// A file that cannot be read.
pub(crate) fn add_file(sum: &mut crc32fast::Hasher, path: &Path) -> anyhow::Result<()> {
    let shown = || format!("cannot read {}", path.display());
    let mut file = open(path)?;
    let mut bytes = 0_u64;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).with_context(shown)?;
        if count == 0 {
            break;
        }
        sum.update(&chunk[..count]);
        bytes += count as u64;
    }
    sum.update(&bytes.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tqz_onnx::{ExternalData, WriteOptions};

    #[test]
    fn data_beside_the_network_count() {
        let folder = tempfile::tempdir().expect("folder");
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo.onnx");
        let whole = network_bytes(&demo).expect("counted");
        let model = tqz_onnx::read_model(&demo).expect("readable");
        let path = folder.path().join("apart.onnx");
        let options = WriteOptions {
            external: ExternalData::Always,
            external_from_bytes: 0,
            ..WriteOptions::default()
        };
        tqz_onnx::write_model_with(&path, &model, &options).expect("written");
        let alone = std::fs::metadata(&path).expect("there").len();
        assert!(alone < whole / 2, "{alone} of {whole}");
        assert!(network_bytes(&path).expect("counted") > whole * 9 / 10);
        let files = network_files(&path).expect("listed");
        assert_eq!(files.len(), 2);
        let apart = |written: &[&Path]| check_apart_from_tensors(&path, written);
        assert!(apart(&[Path::new("other.tqz")]).is_ok());
        let last = |path: &Path| path.file_name().expect("a name").to_owned();
        let around = folder.path().join("..").join(last(folder.path()));
        let tensors = around.join(last(&files[1]));
        let told = apart(&[Path::new("other.tqz"), &tensors]).expect_err("kept");
        assert!(told.to_string().contains("holds tensors of"), "{told}");
    }
}
