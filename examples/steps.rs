//! steps PID: attach to a process, read its registers, let its main thread do three instructions, and leave it.
//!
//!     rustc steps.rs && UTRACED_SOCKET=... ./steps PID
//!
//! It needs nothing but the standard library, which has no packet sockets: two functions of the C library make one.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::raw::{c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::{AsRawFd, FromRawFd};
use std::process::exit;

const MAX_PACKET: usize = 204_800; // limits.max_packet: no packet is larger

const AF_UNIX: u16 = 1;
const SOCK_SEQPACKET_CLOEXEC: c_int = 5 | 0o2000000;

/// `struct sockaddr_un` of Linux.
#[repr(C)]
struct Address {
    family: u16,
    path: [u8; 108],
}

extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const c_void, size: u32) -> c_int;
}

/// The value of a member, as the text of JSON; none where there is none, or where `object` is no object.
///
/// The daemon writes valid JSON without white space, which is what this and `value` rely on; strings may hold anything.
fn member<'a>(object: &'a str, name: &str) -> Option<&'a str> {
    let key = format!("\"{}\":", name);
    let mut rest = object.strip_prefix('{')?;
    while rest.starts_with('"') {
        if let Some(found) = rest.strip_prefix(key.as_str()) {
            return Some(value(found));
        }
        rest = rest[value(rest).len()..].strip_prefix(',')?; // from a name, value() goes on to the end of its value
    }
    None
}

/// The value at the beginning of `text`: all up to the ',', ']' or '}' behind it.
fn value(text: &str) -> &str {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b',' | b']' | b'}' if depth == 0 => return &text[..at],
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    text
}

/// A string without its quotes; its escapes stay, so that it cannot harm a terminal.
fn text(value: Option<&str>) -> &str {
    value
        .and_then(|value| value.strip_prefix('"')?.strip_suffix('"'))
        .unwrap_or("")
}

/// A connection to utraced.
struct Client {
    socket: File,
    last: u32,
    stepped: Option<String>, // where the step ended; none while it lasts
    ended: bool,             // the process has, or we have detached from it
}

impl Client {
    fn connect() -> Result<Client, Box<dyn Error>> {
        let path = env::var_os("UTRACED_SOCKET")
            .ok_or("UTRACED_SOCKET has to name the daemon's socket")?;
        let bytes = path.as_bytes();
        let mut address = Address {
            family: AF_UNIX,
            path: [0; 108],
        };
        address
            .path
            .get_mut(..bytes.len())
            .ok_or("UTRACED_SOCKET is too long")?
            .copy_from_slice(bytes);
        // SAFETY: the socket belongs to nobody else, and the address outlives the call, which only reads it.
        let (socket, connected) = unsafe {
            let fd = socket(AF_UNIX.into(), SOCK_SEQPACKET_CLOEXEC, 0);
            if fd < 0 {
                return Err(io::Error::last_os_error().into());
            }
            let socket = File::from_raw_fd(fd);
            let address: *const Address = &address;
            let connected = connect(
                socket.as_raw_fd(),
                address.cast(),
                std::mem::size_of::<Address>() as u32,
            );
            (socket, connected)
        };
        if connected < 0 {
            return Err(
                format!("{}: {}", path.to_string_lossy(), io::Error::last_os_error()).into(),
            );
        }
        Ok(Client {
            socket,
            last: 0,
            stepped: None,
            ended: false,
        })
    }

    /// Receive one packet: an event or several in an array, or else the reply, which is returned.
    fn receive(&mut self) -> Result<Option<String>, Box<dyn Error>> {
        let mut packet = vec![0; MAX_PACKET];
        let size = self.socket.read(&mut packet)?; // one read is one packet
        if size == 0 {
            return Err("utraced has closed the connection".into());
        }
        packet.truncate(size);
        let packet = String::from_utf8(packet)?;
        if packet.starts_with('[') {
            let mut rest = packet.as_str();
            while rest.starts_with(|c| c == '[' || c == ',') {
                let event = value(&rest[1..]);
                self.take_event(event);
                rest = &rest[1 + event.len()..];
            }
        } else if member(&packet, "method").is_some() {
            self.take_event(&packet);
        } else {
            return Ok(Some(packet));
        }
        Ok(None)
    }

    /// Take note of an event. Other kinds were not asked for.
    fn take_event(&mut self, event: &str) {
        let params = member(event, "params").unwrap_or("");
        match text(member(params, "kind")) {
            "step" => self.stepped = Some(text(member(params, "pc")).to_string()),
            "detached" => self.ended = true,
            _ => {}
        }
    }

    /// Return the result of a request. One is under way at a time, so that any reply is its reply.
    fn call(&mut self, method: &str, params: &str) -> Result<String, Box<dyn Error>> {
        self.last += 1;
        let request = format!(
            r#"{{"jsonrpc":"2.0","id":{},"method":"{}","params":{}}}"#,
            self.last, method, params
        );
        self.socket.write_all(request.as_bytes())?; // one write is one packet
        let reply = loop {
            if let Some(reply) = self.receive()? {
                break reply;
            }
        };
        if let Some(error) = member(&reply, "error") {
            let hint = member(error, "data").and_then(|data| member(data, "hint"));
            return Err(format!("{}\nhint: {}", text(member(error, "message")), text(hint)).into());
        }
        Ok(member(&reply, "result").unwrap_or("").to_string())
    }

    /// Let a thread do one instruction and return where it is held then.
    fn step(&mut self, engine: &str, tid: u32) -> Result<String, Box<dyn Error>> {
        self.stepped = None;
        self.call(
            "thread.resume",
            &format!(r#"{{"engine":{},"tid":{},"action":"step"}}"#, engine, tid),
        )?;
        loop {
            if let Some(pc) = self.stepped.take() {
                return Ok(pc);
            }
            if self.ended {
                return Err("the process has ended".into());
            }
            self.receive()?;
        }
    }
}

fn run(pid: u32) -> Result<(), Box<dyn Error>> {
    let mut client = Client::connect()?;

    let hello = client.call("daemon.hello", r#"{"client":"steps.rs"}"#)?;
    println!("utraced {}", text(member(&hello, "version")));

    let attached = client.call(
        "engine.attach",
        &format!(r#"{{"pid":{},"hold":true,"events":[]}}"#, pid),
    )?;
    let engine = member(&attached, "engine").unwrap_or("");
    println!("engine {} holds process {}", engine, pid);

    let tid = pid; // the main thread of a process has the process's number
    let registers = client.call(
        "registers.read",
        &format!(r#"{{"engine":{},"tid":{}}}"#, engine, tid),
    )?;
    let general = member(&registers, "general").unwrap_or("");
    println!(
        "pc {}\nsp {}",
        text(member(general, "rip")),
        text(member(general, "rsp"))
    );

    for _ in 0..3 {
        println!("step {}", client.step(engine, tid)?);
    }

    client.call("engine.detach", &format!(r#"{{"engine":{}}}"#, engine))?;
    println!("detached");
    Ok(())
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let pid = match arguments.as_slice() {
        [pid] => pid.parse().ok(),
        _ => None,
    };
    match pid.map(run) {
        Some(Ok(())) => {}
        Some(Err(error)) => {
            eprintln!("error: {}", error);
            exit(1);
        }
        None => {
            eprintln!("usage: steps PID");
            exit(2);
        }
    }
}
