//! Writes the files that hold the format still: `make_goldens FOLDER`. See `make golden`.

#[path = "../tests/common/goldens.rs"]
mod goldens;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os().nth(1).ok_or("give a folder")?;
    for (name, file) in goldens::goldens() {
        let path = std::path::Path::new(&folder).join(format!("{name}.tqz"));
        std::fs::write(path, file.encode()?)?;
    }
    Ok(())
}
