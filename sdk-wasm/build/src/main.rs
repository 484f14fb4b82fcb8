//! Makes the script beside the WebAssembly module: `tidegate-wasm-build MODULE FOLDER` writes `core.js`, `core.d.ts` and
//! `core_bg.wasm`. The version of what connects them is that of the lock, as the module's own.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [module, folder] = args.as_slice() else {
        eprintln!("usage: tidegate-wasm-build MODULE FOLDER");
        return ExitCode::FAILURE;
    };
    let mut bindgen = Bindgen::new();
    let made = bindgen
        .input_path(module)
        .out_name("core")
        .web(true)
        .map(|bindgen| {
            bindgen
                .typescript(true)
                // Where the module lies is said by who loads it.
                .omit_default_module_path(true)
                // After a fault a new instance takes the place of the old one.
                .reset_state_function(true)
                .remove_name_section(true)
                .remove_producers_section(true)
        })
        .and_then(|bindgen| bindgen.generate(folder));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
