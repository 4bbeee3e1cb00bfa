//! The secrets of TLS sessions in a file, in the format that Wireshark and others read: whoever has it reads what was said.
//!
//! For the time of a debugging session only: whoever shakes hands waits for the disk.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use parking_lot::Mutex;
use rustls::KeyLog;

/// A file that secrets are appended to.
#[derive(Debug)]
pub struct KeyFile(Mutex<File>);

impl KeyFile {
    /// Opens it; one that is made is readable by nobody else.
    pub fn open(path: &str) -> Result<Self, String> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path);
        file.map(|file| KeyFile(Mutex::new(file))).map_err(|error| format!("log.tls_keys {path}: {error}"))
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut line = format!("{label} ");
        push_hex(&mut line, client_random);
        line.push(' ');
        push_hex(&mut line, secret);
        line.push('\n');
        // A full disk costs the file its lines, not the client its connection.
        drop(self.0.lock().write_all(line.as_bytes()));
    }
}

fn push_hex(line: &mut String, bytes: &[u8]) {
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            line.push(char::from_digit(digit.into(), 16).expect("half a byte is a digit"));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_are_written_as_others_read_them() {
        let path = std::env::temp_dir().join(format!("headland-keys-{}", std::process::id()));
        let keys = KeyFile::open(path.to_str().unwrap()).unwrap();
        keys.log("CLIENT_TRAFFIC_SECRET_0", &[1, 0xab], &[0xff]);
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written, "CLIENT_TRAFFIC_SECRET_0 01ab ff\n");
        assert!(KeyFile::open("/nonexistent/dir/keys").is_err());
    }
}
