//! Three lines: start a client, wait a moment for the server, check a flag.
//!
//! `cargo run -p tidegate-sdk --example quickstart -- http://127.0.0.1:8080 KEY checkout`

use std::time::Duration;

use tidegate_sdk::{Client, Context};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut given = std::env::args().skip(1);
    let mut next = |otherwise: &str| given.next().unwrap_or_else(|| otherwise.to_owned());
    let (url, key, flag) = (next("http://127.0.0.1:8080"), next("tg_sdk-server_…"), next("checkout"));

    let client = Client::builder(&url, &key).start()?;
    client.wait_ready(Duration::from_secs(2))?;
    println!("{flag}: {}", client.bool(&flag, &Context::new("user-17"), false));
    Ok(())
}
