//! Three steps of a long stage beside each other: preparing what comes next, running, finishing what came before.

use std::sync::mpsc::sync_channel;

use rayon::prelude::*;

use crate::error::Result;

/// Runs what `prepared` yields, one after the other, and hands each with its result to `finish`.
///
/// The iterator and `finish` have a thread each, `run` stays on the caller's. One item of each kind waits at most, so that
/// memory does not grow with their number. The first error ends it; what was run before is finished.
///
/// # Errors
/// Those of the three steps.
pub(crate) fn pipeline<A: Send, B: Send>(
    prepared: impl Iterator<Item = Result<A>> + Send,
    mut run: impl FnMut(&A) -> Result<B>,
    mut finish: impl FnMut(A, B) -> Result<()> + Send,
) -> Result<()> {
    std::thread::scope(|scope| {
        let (to_run, ready) = sync_channel::<Result<A>>(0);
        let (to_finish, done) = sync_channel::<(A, B)>(0);
        scope.spawn(move || {
            for item in prepared {
                let failed = item.is_err();
                // A closed channel means that another step has failed; the reason is reported there.
                if to_run.send(item).is_err() || failed {
                    return;
                }
            }
        });
        let finisher = scope.spawn(move || done.into_iter().try_for_each(|(item, result)| finish(item, result)));
        let run_all = move || -> Result<()> {
            for item in ready {
                let item = item?;
                let result = run(&item)?;
                if to_finish.send((item, result)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let ran = run_all();
        finisher.join().expect("a panic has ended the program")?;
        ran
    })
}

/// Prepares some items beside each other, one for every four threads, and yields them in order: a GPU works through a part
/// faster than a thread prepares the next.
pub(crate) fn ahead<I: Send, A: Send>(
    items: impl Iterator<Item = I>,
    prepare: impl Fn(I) -> A + Sync,
) -> impl Iterator<Item = A> {
    let n_together = rayon::current_num_threads().div_ceil(4);
    let mut items = items.fuse();
    let together = move || {
        let next: Vec<I> = items.by_ref().take(n_together).collect();
        (!next.is_empty()).then(|| next.into_par_iter().map(&prepare).collect::<Vec<A>>())
    };
    std::iter::from_fn(together).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn what_is_prepared_together_comes_in_order() {
        for n_threads in [1, 5, 16] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            let squares: Vec<usize> = pool.install(|| ahead(0..11, |item| item * item).collect());
            assert_eq!(squares, (0..11).map(|item| item * item).collect::<Vec<_>>());
        }
    }

    fn fault(what: &str) -> Error {
        Error::NotFinite { what: what.into() }
    }

    /// Runs five items with a fault in one of the three steps; what was finished, and the error.
    fn five(faulty: &str) -> (Vec<(usize, usize)>, Option<String>) {
        let mut finished = Vec::new();
        let check = |step: &str, item: usize| if step == faulty && item == 3 { Err(fault(step)) } else { Ok(item) };
        let result = pipeline(
            (0..5).map(|item| check("prepare", item)),
            |item| Ok(10 * check("run", *item)?),
            |item, result| {
                finished.push((check("finish", item)?, result));
                Ok(())
            },
        );
        (finished, result.err().map(|e| e.to_string()))
    }

    #[test]
    fn results_come_in_order_and_the_first_error_ends_it() {
        let all = [(0, 0), (1, 10), (2, 20), (3, 30), (4, 40)];
        assert_eq!(five("none"), (all.to_vec(), None));
        for step in ["prepare", "run", "finish"] {
            let (finished, error) = five(step);
            assert_eq!(finished, all[..3], "what was run before is finished ({step})");
            assert!(error.is_some_and(|e| e.starts_with(step)), "{step}");
        }
    }
}
