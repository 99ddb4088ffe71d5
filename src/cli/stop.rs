//! What happens when somebody asks the program to stop.
//!
//! Everything is written whole or not at all, so that ending at any moment loses at most what is being made. SIGTERM and SIGUSR1,
//! by which batch systems warn, end the program with 75, "try again later": at once, or, where parts are being made, when the
//! current one is done, and after [`PATIENCE`] at the latest. A second signal does not wait. SIGINT ends it at once, with 130.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Slurm kills 30 seconds after SIGTERM by default; others are less patient.
const PATIENCE: Duration = Duration::from_secs(15);

/// Exit code of a stop before the end, sysexits' EX_TEMPFAIL: what is there is valid, and the same command goes on with it.
pub(crate) const STOPPED: u8 = 75;
#[cfg(unix)]
const INTERRUPTED: i32 = 130;

static REQUESTED: AtomicBool = AtomicBool::new(false);
static ORDERLY: AtomicUsize = AtomicUsize::new(0);

/// Whether somebody asked for a stop: no further part is to be begun.
pub(crate) fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// While it lives, the program asks [`requested`] by itself and needs not be ended from outside.
#[derive(Debug)]
pub(crate) struct Orderly;

impl Orderly {
    pub(crate) fn new() -> Self {
        ORDERLY.fetch_add(1, Ordering::SeqCst);
        Self
    }
}

impl Drop for Orderly {
    fn drop(&mut self) {
        ORDERLY.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Listens from here on.
#[cfg(unix)]
pub(crate) fn listen() {
    use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};
    use signal_hook::iterator::Signals;

    // `_exit`: threads of the runtime may be at work, and what they use must not be torn down under them.
    let exit = signal_hook::low_level::exit;
    let mut signals = match Signals::new([SIGINT, SIGTERM, SIGUSR1]) {
        Ok(signals) => signals,
        Err(error) => return tracing::warn!("signals keep their usual meaning: {error}"),
    };
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT {
                eprintln!("interrupted: what is finished is kept");
                exit(INTERRUPTED);
            }
            let name = signal_hook::low_level::signal_name(signal).unwrap_or("a signal");
            if REQUESTED.swap(true, Ordering::SeqCst) || ORDERLY.load(Ordering::SeqCst) == 0 {
                eprintln!("stopped by {name}: what is finished is kept");
                exit(i32::from(STOPPED));
            }
            tracing::warn!("{name}: stopping after this part, or without it in {} s", PATIENCE.as_secs());
            std::thread::spawn(move || {
                std::thread::sleep(PATIENCE);
                eprintln!("stopped by {name}: the part that was being made is dropped, finished ones are kept");
                exit(i32::from(STOPPED));
            });
        }
    });
}

#[cfg(not(unix))]
pub(crate) fn listen() {}

/// Ends the program without a word, whatever its threads are doing: nobody waits for it any more.
#[cfg(unix)]
pub(crate) fn now() -> ! {
    signal_hook::low_level::exit(i32::from(STOPPED))
}

/// The same.
#[cfg(not(unix))]
pub(crate) fn now() -> ! {
    std::process::exit(i32::from(STOPPED))
}
