//! What `alike check` says of every kind of model.

use alike::engine::provider::{ExecutionProvider, Runtime};
use alike::model_folder::ModelFolder;

use crate::cli::device::Device;

pub(crate) fn print_folder(folder: &ModelFolder, runtime: &Runtime) -> anyhow::Result<()> {
    println!("model      {}", folder.path.display());
    println!("runtime    {} ({})", runtime.version(), runtime.path().display());
    for (name, digest) in folder.digests()? {
        println!("sha256     {digest}  {name}");
    }
    Ok(())
}

pub(crate) fn print_providers(device: &Device, start: impl Fn(&Device) -> anyhow::Result<()>) {
    println!("provider   {} starts", device.provider);
    for provider in [ExecutionProvider::Cpu, ExecutionProvider::Cuda, ExecutionProvider::TensorRt] {
        if provider == device.provider {
            continue;
        }
        match start(&Device { provider, ..device.clone() }) {
            Ok(()) => println!("provider   {provider} starts"),
            Err(error) => {
                let reason = error.chain().last().map(ToString::to_string).unwrap_or_default();
                println!("provider   {provider} does not start: {}", reason.lines().next().unwrap_or_default());
            }
        }
    }
}
