//! A small mail server: it takes mail, or does not, and keeps what it took.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver as Channel, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// After this long a test gives up waiting.
const PATIENCE: Duration = Duration::from_secs(20);
/// So much silence counts as silence.
const A_WHILE: Duration = Duration::from_millis(300);

/// What came, whether it was taken or not.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) data: String,
}

impl Mail {
    /// A header of it, unfolded.
    pub(crate) fn header(&self, name: &str) -> String {
        let head = self.data.split("\r\n\r\n").next().expect("a head").replace("\r\n ", " ");
        let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.data)).to_owned()
    }
}

/// A mail server on a port of its own.
pub(crate) struct Mailbox {
    /// As the settings name it.
    pub(crate) server: String,
    script: Arc<Mutex<VecDeque<&'static str>>>,
    mails: Channel<Mail>,
}

impl Mailbox {
    /// One that takes everything.
    pub(crate) fn open() -> Mailbox {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = listener.local_addr().expect("an address").to_string();
        let script = Arc::new(Mutex::new(VecDeque::new()));
        let (sender, mails) = channel();
        let its_script = Arc::clone(&script);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (script, sender) = (Arc::clone(&its_script), sender.clone());
                std::thread::spawn(move || serve(stream, &script, &sender));
            }
        });
        Mailbox { server, script, mails }
    }

    /// Answers the next mails so, one after the other; those after them are taken.
    pub(crate) fn then(&self, answers: &[&'static str]) {
        self.script.lock().expect("no panic").extend(answers);
    }

    #[track_caller]
    pub(crate) fn next(&self) -> Mail {
        self.mails.recv_timeout(PATIENCE).expect("mail comes")
    }

    #[track_caller]
    pub(crate) fn hears_nothing(&self) {
        if let Ok(mail) = self.mails.recv_timeout(A_WHILE) {
            panic!("it was sent {mail:?}");
        }
    }
}

/// A connection that breaks off sends nothing.
fn serve(stream: TcpStream, script: &Mutex<VecDeque<&'static str>>, sender: &Sender<Mail>) -> Option<()> {
    let mut out = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream);
    let mut mail = Mail { from: String::new(), to: Vec::new(), data: String::new() };
    out.write_all(b"220 mailbox\r\n").ok()?;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        let address = || line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
        let answer = match line.get(..4)?.to_ascii_uppercase().as_str() {
            "EHLO" | "HELO" => "250 mailbox",
            "MAIL" => {
                mail.from = address();
                "250 go on"
            }
            "RCPT" => {
                mail.to.push(address());
                "250 go on"
            }
            "DATA" => {
                out.write_all(b"354 end with a dot\r\n").ok()?;
                mail.data.clear();
                loop {
                    let mut line = String::new();
                    lines.read_line(&mut line).ok().filter(|read| *read > 0)?;
                    if line == ".\r\n" {
                        break;
                    }
                    mail.data.push_str(&line);
                }
                // Long lines come in pieces.
                mail.data = mail.data.replace("=\r\n", "");
                let answer = script.lock().ok()?.pop_front().unwrap_or("250 taken");
                // The test may be over.
                sender.send(mail.clone()).ok()?;
                answer
            }
            "QUIT" => {
                out.write_all(b"221 bye\r\n").ok()?;
                return Some(());
            }
            "RSET" | "NOOP" => "250 yes",
            _ => "500 what",
        };
        out.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
    }
}
