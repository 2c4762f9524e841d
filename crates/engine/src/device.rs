//! Where tensors live: a device chosen by name among those compiled in.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, Tensor};

use crate::error::EngineError;

/// A place to compute: `cpu` always; others by cargo feature.
#[derive(Debug, Clone)]
pub struct EngineDevice {
    inner: Device,
    name: &'static str,
}

impl EngineDevice {
    /// The CPU.
    pub fn cpu() -> Self {
        Self {
            inner: Device::flex(),
            name: "cpu",
        }
    }

    /// The device called `name`: `cpu`, or with the cargo feature of the same name `cuda`, `rocm`,
    /// `metal`, `vulkan` or `wgpu` (the first such device of the machine).
    ///
    /// # Errors
    /// Any other name, or one whose feature is off; the message lists the names available. And a
    /// device that the machine does not have.
    pub fn from_name(name: &str) -> Result<Self, EngineError> {
        Self::named(name)?.tried()
    }

    /// The device itself, once it has held a number and given it back: drivers report their absence
    /// at the first use only, by panics.
    fn tried(self) -> Result<Self, EngineError> {
        let probe = || Tensor::<1>::ones([1], &self.inner).try_to_vec_as::<f32>();
        match catch_unwind(AssertUnwindSafe(probe)) {
            Ok(Ok(numbers)) if numbers == [1.0] => Ok(self),
            _ => Err(EngineError::Device(format!(
                "device `{}` is compiled in but does not work on this machine",
                self.name
            ))),
        }
    }

    fn named(name: &str) -> Result<Self, EngineError> {
        match name {
            "cpu" => Ok(Self::cpu()),
            #[cfg(feature = "cuda")]
            "cuda" => Ok(Self {
                inner: Device::cuda(0usize),
                name: "cuda",
            }),
            #[cfg(feature = "rocm")]
            "rocm" => Ok(Self {
                inner: Device::rocm(0usize),
                name: "rocm",
            }),
            #[cfg(feature = "metal")]
            "metal" => Ok(Self {
                inner: Device::metal(burn::tensor::DeviceKind::DefaultDevice),
                name: "metal",
            }),
            #[cfg(feature = "vulkan")]
            "vulkan" => Ok(Self {
                inner: Device::vulkan(burn::tensor::DeviceKind::DefaultDevice),
                name: "vulkan",
            }),
            #[cfg(feature = "wgpu")]
            "wgpu" => Ok(Self {
                inner: Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
                name: "wgpu",
            }),
            _ => Err(EngineError::Device(format!(
                "no device `{name}`; this build has: {}. Of cuda, rocm, metal, vulkan and wgpu each comes with \
                 the cargo feature of its name: `cargo build --release --features cuda`",
                Self::available().join(", ")
            ))),
        }
    }

    /// Names that [`EngineDevice::from_name`] takes in this build.
    pub fn available() -> Vec<&'static str> {
        let mut names = vec!["cpu"];
        for (name, present) in [
            ("cuda", cfg!(feature = "cuda")),
            ("rocm", cfg!(feature = "rocm")),
            ("metal", cfg!(feature = "metal")),
            ("vulkan", cfg!(feature = "vulkan")),
            ("wgpu", cfg!(feature = "wgpu")),
        ] {
            if present {
                names.push(name);
            }
        }
        names
    }

    /// The name it was made from.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether tensors live in the machine's own memory.
    pub fn is_cpu(&self) -> bool {
        self.name == "cpu"
    }

    /// burn's handle, without autodiff.
    pub fn burn(&self) -> &Device {
        &self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_device_lists_what_is_available() {
        let error = EngineDevice::from_name("abacus").unwrap_err().to_string();
        assert!(error.contains("abacus") && error.contains("cpu"), "{error}");
        assert!(EngineDevice::from_name("cpu").is_ok_and(|device| device.is_cpu()));
    }
}
