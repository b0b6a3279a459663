//! Who is served next when many want something of which there is little: those who ask take turns by where they come from,
//! so that whoever asks a lot waits for himself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Most of one source that wait.
const MOST_OF_ONE: usize = 16;
/// Most that wait in all. When there are as many, whoever has more of them than the others gives one up.
const MOST: usize = 128;

/// A bounded number of turns at the same time.
#[derive(Debug)]
pub(super) struct Turns<S> {
    state: Arc<Mutex<State<S>>>,
}

impl<S> Clone for Turns<S> {
    fn clone(&self) -> Turns<S> {
        Turns { state: self.state.clone() }
    }
}

#[derive(Debug)]
struct State<S> {
    free: usize,
    waiting: BTreeMap<S, VecDeque<oneshot::Sender<()>>>,
    /// Whose turn is next, each source once that has somebody waiting.
    order: VecDeque<S>,
}

/// A turn; given on when dropped.
#[derive(Debug)]
pub(super) struct Turn<S: Ord + Clone> {
    turns: Turns<S>,
}

/// Too many wait already, of the same source or of all.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many wait already")]
pub(super) struct TooMany;

impl<S: Ord + Clone> Turns<S> {
    /// So many at the same time.
    pub(super) fn new(count: usize) -> Turns<S> {
        let state = State { free: count.max(1), waiting: BTreeMap::new(), order: VecDeque::new() };
        Turns { state: Arc::new(Mutex::new(state)) }
    }

    /// Waits for a turn.
    pub(super) async fn take(&self, source: S) -> Result<Turn<S>, TooMany> {
        let called = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Turn { turns: self.clone() });
            }
            state.queue(source)?
        };
        // The turn is given on by whoever had it; it is dropped with this future if nobody waits for it any more.
        let mut waiting = Waiting { turns: self.clone(), called };
        (&mut waiting.called).await.map_err(|_| TooMany)?;
        Ok(Turn { turns: self.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody in the queue, who may leave it at any moment.
struct Waiting<S: Ord + Clone> {
    turns: Turns<S>,
    called: oneshot::Receiver<()>,
}

impl<S: Ord + Clone> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.called.close();
        // Called, and gone before it was heard: the next one is called.
        if self.called.try_recv().is_ok() {
            self.turns.state().give_on();
        }
    }
}

impl<S: Ord + Clone> Drop for Turn<S> {
    fn drop(&mut self) {
        self.turns.state().give_on();
    }
}

impl<S: Ord + Clone> State<S> {
    fn queue(&mut self, source: S) -> Result<oneshot::Receiver<()>, TooMany> {
        let of_source = self.waiting.get(&source).map_or(0, VecDeque::len);
        if of_source >= MOST_OF_ONE {
            return Err(TooMany);
        }
        if self.waiting.values().map(VecDeque::len).sum::<usize>() >= MOST {
            self.make_room(of_source)?;
        }
        let (call, called) = oneshot::channel();
        if of_source == 0 {
            self.order.push_back(source.clone());
        }
        self.waiting.entry(source).or_default().push_back(call);
        Ok(called)
    }

    /// Sends away the last of the source that has most, if that is more than whoever comes would have.
    fn make_room(&mut self, of_comer: usize) -> Result<(), TooMany> {
        let most = self.waiting.values_mut().max_by_key(|queue| queue.len()).ok_or(TooMany)?;
        if most.len() <= of_comer + 1 {
            return Err(TooMany);
        }
        drop(most.pop_back());
        Ok(())
    }

    /// Calls the next one, of the source whose turn it is.
    fn give_on(&mut self) {
        while let Some(source) = self.order.pop_front() {
            let Some(queue) = self.waiting.get_mut(&source) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                self.waiting.remove(&source);
            } else {
                self.order.push_back(source);
            }
            if next.is_some_and(|next| next.send(()).is_ok()) {
                return;
            }
        }
        self.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    type Asked = Pin<Box<dyn Future<Output = Result<Turn<char>, TooMany>>>>;

    /// Asks, and says who it was when it is asked for in turn.
    fn ask(turns: &Turns<char>, source: char) -> Asked {
        let turns = turns.clone();
        let mut asked: Asked = Box::pin(async move { turns.take(source).await });
        assert!(poll(&mut asked).is_none(), "nobody is to be served yet");
        asked
    }

    fn poll(asked: &mut Asked) -> Option<Result<Turn<char>, TooMany>> {
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn take_now(turns: &Turns<char>, source: char) -> Option<Turn<char>> {
        let asked = pin!(turns.take(source));
        match asked.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => turn.ok(),
            Poll::Pending => None,
        }
    }

    /// Gives turns on until nobody waits; by whom they were taken.
    fn served(first: Turn<char>, mut waiting: Vec<(&'static str, Asked)>) -> Vec<&'static str> {
        let (mut turn, mut order) = (Some(first), Vec::new());
        while turn.take().is_some() {
            let next = waiting.iter_mut().enumerate().find_map(|(n, (name, asked))| Some((n, *name, poll(asked)?)));
            if let Some((n, name, taken)) = next {
                drop(waiting.remove(n));
                order.push(name);
                turn = taken.ok();
            }
        }
        order
    }

    #[test]
    fn sources_take_turns_however_much_one_asks() {
        let turns = Turns::new(1);
        let first = take_now(&turns, 'a').expect("a turn");
        let names = [("a2", 'a'), ("a3", 'a'), ("a4", 'a'), ("b1", 'b'), ("c1", 'c'), ("c2", 'c')];
        let waiting = names.map(|(name, source)| (name, ask(&turns, source)));
        assert_eq!(served(first, waiting.into_iter().collect()), ["a2", "b1", "c1", "a3", "c2", "a4"]);
        assert!(take_now(&turns, 'z').is_some(), "the turn is free again");
    }

    #[test]
    fn whoever_leaves_the_queue_holds_up_nobody() {
        let turns = Turns::new(1);
        let first = take_now(&turns, 'a').expect("a turn");
        let (gone, called) = (ask(&turns, 'a'), ask(&turns, 'b'));
        let mut last = ask(&turns, 'c');
        drop(gone);
        drop(first);
        // It is called and goes without having heard it.
        drop(called);
        assert!(poll(&mut last).is_some_and(|turn| turn.is_ok()));
        drop(last);
        assert!(take_now(&turns, 'z').is_some());
    }

    #[test]
    fn one_source_fills_neither_its_queue_nor_everybodys() {
        let turns = Turns::new(1);
        let first = take_now(&turns, 'a').expect("a turn");
        let many: Vec<Asked> = (0..MOST_OF_ONE).map(|_| ask(&turns, 'a')).collect();
        let mut more = Box::pin({
            let turns = turns.clone();
            async move { turns.take('a').await }
        }) as Asked;
        assert_eq!(poll(&mut more).map(|turn| turn.err()), Some(Some(TooMany)));
        let others: Vec<Asked> = ('b'..)
            .take(MOST / MOST_OF_ONE - 1)
            .flat_map(|source| vec![source; MOST_OF_ONE])
            .map(|s| ask(&turns, s))
            .collect();
        // All places are taken; who has few of them still finds one, at the cost of one who has many.
        let mut comer = ask(&turns, 'z');
        let mut all: Vec<Asked> = many.into_iter().chain(others).collect();
        assert_eq!(all.iter_mut().filter_map(poll).filter(|turn| turn.is_err()).count(), 1);
        drop(all);
        drop(first);
        assert!(poll(&mut comer).is_some_and(|turn| turn.is_ok()));
    }
}
