//! `Pool`: threads for what may sleep, so that the kernel's requests are always being read.

use std::io;
use std::thread;

use crossbeam_channel::{Sender, bounded};

/// Jobs that wait for a thread. Each belongs to a request of the kernel, whose event loop waits
/// when the queue is full.
const QUEUE_MAX: usize = 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Threads end when the pool is dropped and its queue is empty.
#[derive(Clone, Debug)]
pub struct Pool {
    jobs: Sender<Job>,
}

impl Pool {
    /// # Errors
    /// A thread cannot be made.
    pub fn new(threads: usize) -> io::Result<Self> {
        let (jobs, queue) = bounded::<Job>(QUEUE_MAX);
        for number in 0..threads {
            let queue = queue.clone();
            thread::Builder::new().name(format!("grove-io-{number}")).spawn(move || {
                for job in queue {
                    job();
                }
            })?;
        }
        Ok(Self { jobs })
    }

    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The threads live as long as the sender does.
        let _ = self.jobs.send(Box::new(job));
    }
}
