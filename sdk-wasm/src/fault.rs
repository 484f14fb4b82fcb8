//! What a mistake of ours does: it throws, and says where it is. Messages would take more room than they are worth: the
//! place tells the message to whoever has the source.

use alloc::format;
use alloc::string::String;
use core::panic::PanicInfo;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let place = info.location().map_or(String::new(), |at| format!("{}:{}", at.file(), at.line()));
    wasm_bindgen::throw_str(&place)
}

/// Fails on purpose, for tests of what happens then: 0 panics, 1 overflows the stack.
#[cfg(feature = "fault")]
#[wasm_bindgen::prelude::wasm_bindgen]
pub fn panic_now(kind: u32) -> u32 {
    fn deeper(kind: u32) -> u32 {
        core::hint::black_box(deeper(core::hint::black_box(kind) + 1)) + 1
    }
    assert!(kind != 0, "a test asked for it");
    deeper(kind)
}
