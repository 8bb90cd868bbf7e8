//! The state machine under random histories and a simulated clock.

use std::cell::Cell;
use std::rc::Rc;

use super::*;

/// The number of random histories, and of events in each.
const SEEDS: u64 = 20_000;
const EVENTS: usize = 80;

#[derive(Debug)]
struct TestConnection {
    generation: u64,
    is_multiplexed: bool,
    is_closed: Cell<bool>,
    has_answered: Cell<bool>,
    /// The number of requests on it.
    carries: Cell<usize>,
}

type Connection = Rc<TestConnection>;

impl Connected for Connection {
    fn generation(&self) -> u64 {
        self.generation
    }
    fn is_usable(&self) -> bool {
        !self.is_closed.get()
    }
    fn is_multiplexed(&self) -> bool {
        self.is_multiplexed
    }
    fn has_answered(&self) -> bool {
        self.has_answered.get()
    }
    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

/// A random number generator with a fixed seed (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn jitter(&mut self) -> f64 {
        1.0 - JITTER + 2.0 * JITTER * self.below(1_001) as f64 / 1_000.0
    }
}

/// The state of a request.
#[derive(Debug)]
enum At {
    Start,
    Joined,
    Waiting(Instant),
    On(Connection),
    Delivered,
    Lost,
}

#[derive(Debug)]
struct Request {
    deadline: Option<Instant>,
    at: At,
    /// How often the server has accepted it.
    taken: usize,
}

/// A backoff window, as an observer records it.
#[derive(Debug)]
struct Window {
    until: Instant,
    is_permanent: bool,
    cure: Cure,
}

struct World {
    random: Random,
    now: Instant,
    link: Link<Connection, ()>,
    generation: u64,
    dialling: Option<u64>,
    /// The credentials that changed during a dial.
    since: Renewal,
    window: Option<Window>,
    connections: Vec<Connection>,
    requests: Vec<Request>,
    seen: Seen,
}

/// Counts of what happened, so that the test fails if nothing did.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    dials: usize,
    uses: usize,
    joins: usize,
    waits: usize,
    failures: usize,
    delivered: usize,
    lost: usize,
    cured: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: Instant::now(),
            link: Link::new(0),
            generation: 0,
            dialling: None,
            since: Renewal::default(),
            window: None,
            connections: Vec::new(),
            requests: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn failure(&mut self) -> LinkFailure<()> {
        let cure = [Cure::TrustAnchors, Cure::Identity, Cure::Nothing];
        LinkFailure {
            error: (),
            is_permanent: self.random.coin(),
            cure: cure[self.random.below(3) as usize],
        }
    }

    fn begin(&mut self) {
        let timeout = Duration::from_millis(500 + self.random.below(20_000));
        let is_limited = self.random.below(8) != 0;
        let deadline = is_limited.then_some(self.now + timeout);
        self.requests.push(Request { deadline, at: At::Start, taken: 0 });
    }

    /// Runs every request that can proceed.
    fn run(&mut self) {
        for index in 0..self.requests.len() {
            let Request { deadline, at, .. } = &self.requests[index];
            let (deadline, is_ready) = (
                *deadline,
                match at {
                    At::Start => true,
                    At::Waiting(until) => *until <= self.now,
                    _ => false,
                },
            );
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                self.give_up(index);
            } else if is_ready {
                self.requests[index].at = self.acquire(deadline);
            }
        }
    }

    fn acquire(&mut self, deadline: Option<Instant>) -> At {
        match self.link.acquire(self.now, deadline) {
            Next::Use(connection) => {
                self.seen.uses += 1;
                assert_eq!(connection.generation, self.generation, "an old generation is taken");
                assert!(!connection.is_closed.get(), "a closed connection is taken");
                assert!(
                    connection.is_multiplexed || connection.carries.get() == 0,
                    "two requests at once on HTTP/1.1"
                );
                connection.carries.set(connection.carries.get() + 1);
                At::On(connection)
            }
            Next::Dial => {
                self.seen.dials += 1;
                assert_eq!(self.dialling.replace(self.generation), None, "two dials at once");
                self.since = Renewal::default();
                if let Some(window) = self.window.take() {
                    assert!(window.until <= self.now, "a dial within a window");
                }
                At::Joined
            }
            Next::Bury(connection) => {
                assert!(connection.is_closed.get() && !connection.has_answered.get());
                let (jitter, failure) = (self.random.jitter(), self.failure());
                self.link.ended(self.now, jitter, &connection, Ending::Broken, failure);
                self.look_at_the_window();
                At::Start
            }
            Next::Join => {
                self.seen.joins += 1;
                assert!(self.dialling.is_some(), "there is no dial to wait for");
                At::Joined
            }
            Next::Wait(until) => {
                self.seen.waits += 1;
                assert!(until > self.now, "a wait that is over");
                let window = self.window.as_ref().expect("a wait without a window");
                assert_eq!(until, window.until);
                assert!(
                    deadline.is_none_or(|deadline| until <= deadline),
                    "a wait that outlasts the deadline"
                );
                At::Waiting(until)
            }
            Next::Fail(..) => {
                self.seen.failures += 1;
                let window = self.window.as_ref().expect("a failure without a window");
                assert!(
                    window.is_permanent || deadline.is_some_and(|deadline| deadline < window.until),
                    "a failure that a wait might have avoided"
                );
                self.seen.lost += 1;
                At::Lost
            }
        }
    }

    fn give_up(&mut self, index: usize) {
        if let At::On(connection) = &self.requests[index].at {
            connection.carries.set(connection.carries.get() - 1);
            // An HTTP/1.1 connection that owes an answer cannot be reused.
            connection.is_closed.set(connection.is_closed.get() || !connection.is_multiplexed);
        }
        if !matches!(self.requests[index].at, At::Delivered | At::Lost) {
            self.requests[index].at = At::Lost;
            self.seen.lost += 1;
        }
    }

    fn end_dial(&mut self) {
        let Some(generation) = self.dialling.take() else {
            return;
        };
        let (jitter, before) = (self.random.jitter(), self.connections.len());
        if self.random.coin() {
            let connection = Rc::new(TestConnection {
                generation,
                is_multiplexed: self.random.coin(),
                is_closed: Cell::new(false),
                has_answered: Cell::new(false),
                carries: Cell::new(0),
            });
            self.connections.push(Rc::clone(&connection));
            self.link.dialled(self.now, jitter, Ok(connection));
            self.look_at_the_window();
        } else {
            let failure = self.failure();
            let cure = failure.cure;
            self.link.dialled(self.now, jitter, Err(failure));
            self.look_at_the_window();
            assert_eq!(self.window.is_none(), self.since.is_cure(cure), "what failed is outdated");
        }
        let has_failed = self.connections.len() == before;
        let is_current = generation == self.generation;
        for request in &mut self.requests {
            if matches!(request.at, At::Joined) {
                // Requests that share the failure do not try again.
                request.at = At::Start;
                if is_current && has_failed && self.window.is_some() {
                    request.at = At::Lost;
                    self.seen.lost += 1;
                }
            }
        }
    }

    /// Records a new window of the link, and checks its length.
    fn look_at_the_window(&mut self) {
        let paced = self.link.paced(self.now).map(|(until, last)| (until, last.clone()));
        self.window = paced.map(|(until, last)| {
            let longest = if last.is_permanent { LONGEST_PERMANENT } else { LONGEST_UNREACHABLE };
            assert!(until - self.now <= longest, "a window that is too long");
            assert!(until - self.now >= FIRST_WINDOW.mul_f64(1.0 - JITTER), "too short a window");
            Window { until, is_permanent: last.is_permanent, cure: last.cure }
        });
    }

    /// Picks a request that is on a connection.
    fn on_a_connection(&mut self) -> Option<(usize, Connection)> {
        let on =
            self.requests.iter().enumerate().filter_map(|(index, request)| match &request.at {
                At::On(connection) => Some((index, Rc::clone(connection))),
                _ => None,
            });
        let on: Vec<_> = on.collect();
        let chosen = self.random.below(on.len().max(1) as u64) as usize;
        on.into_iter().nth(chosen)
    }

    fn answer(&mut self) {
        let Some((index, connection)) = self.on_a_connection() else {
            return;
        };
        connection.has_answered.set(true);
        connection.carries.set(connection.carries.get() - 1);
        let request = &mut self.requests[index];
        request.taken += 1;
        request.at = At::Delivered;
        self.seen.delivered += 1;
        if !connection.is_multiplexed {
            self.link.give_back(connection);
        }
    }

    fn end_a_connection(&mut self) {
        let Some((_, connection)) = self.on_a_connection() else {
            return;
        };
        connection.is_closed.set(true);
        let ending = if self.random.coin() { Ending::Announced } else { Ending::Broken };
        let was_paced = self.window.is_some();
        for index in 0..self.requests.len() {
            let At::On(on) = &self.requests[index].at else {
                continue;
            };
            if !Rc::ptr_eq(on, &connection) {
                continue;
            }
            connection.carries.set(connection.carries.get() - 1);
            let (jitter, failure) = (self.random.jitter(), self.failure());
            self.link.ended(self.now, jitter, &connection, ending, failure);
            // The server refuses some unprocessed: those are sent again.
            self.requests[index].at = At::Start;
            if ending == Ending::Broken {
                self.requests[index].taken += usize::from(self.random.coin());
                self.requests[index].at = At::Lost;
                self.seen.lost += 1;
            }
        }
        if !was_paced {
            self.look_at_the_window();
        }
    }

    fn renew(&mut self) {
        self.generation += 1;
        let renewal = Renewal { trust_anchors: self.random.coin(), identity: self.random.coin() };
        self.since.trust_anchors |= renewal.trust_anchors;
        self.since.identity |= renewal.identity;
        self.link.renewed(self.generation, renewal);
        if self.window.as_ref().is_some_and(|window| renewal.is_cure(window.cure)) {
            self.window = None;
            self.seen.cured += 1;
            self.wake();
        }
    }

    /// Makes the requests that wait for a window ask again.
    fn wake(&mut self) {
        for request in &mut self.requests {
            if matches!(request.at, At::Waiting(_)) {
                request.at = At::Start;
            }
        }
    }

    fn step(&mut self) {
        match self.random.below(12) {
            0..=2 => self.begin(),
            3..=4 => self.end_dial(),
            5..=6 => self.answer(),
            7 => self.end_a_connection(),
            8 => self.renew(),
            9 => {
                if let Some((_, connection)) = self.on_a_connection() {
                    self.link.condemn(&connection);
                }
            }
            _ => self.now += Duration::from_millis(self.random.below(5_000)),
        }
        self.run();
        for request in &self.requests {
            assert!(request.taken <= 1, "taken twice");
            let is_delivered = matches!(request.at, At::Delivered);
            assert!(!is_delivered || request.taken == 1, "delivered, and the server has it not");
        }
    }
}

#[test]
fn whatever_happens() {
    let mut all = Seen::default();
    for seed in 1..=SEEDS {
        let history = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..EVENTS {
                world.step();
            }
            world.seen
        });
        let seen = history.unwrap_or_else(|_| panic!("seed {seed} fails, see above"));
        all.dials += seen.dials;
        all.uses += seen.uses;
        all.joins += seen.joins;
        all.waits += seen.waits;
        all.failures += seen.failures;
        all.delivered += seen.delivered;
        all.lost += seen.lost;
        all.cured += seen.cured;
    }
    let counts = [
        all.dials,
        all.uses,
        all.joins,
        all.waits,
        all.failures,
        all.delivered,
        all.lost,
        all.cured,
    ];
    assert!(counts.iter().all(|count| *count > 1_000), "hardly anything happened: {all:?}");
}

/// What a link in this state returns to a request without a limit.
fn next(
    tell: impl FnOnce(&mut Link<Connection, ()>, Instant, &[Connection; 2]),
) -> Next<Connection, ()> {
    let mut link = Link::new(0);
    let now = Instant::now();
    let connection = |_| {
        Rc::new(TestConnection {
            generation: 0,
            is_multiplexed: true,
            is_closed: Cell::new(false),
            has_answered: Cell::new(false),
            carries: Cell::new(0),
        })
    };
    tell(&mut link, now, &[0, 1].map(connection));
    link.acquire(now, None)
}

fn broken() -> LinkFailure<()> {
    LinkFailure { error: (), is_permanent: false, cure: Cure::Nothing }
}

fn ends(link: &mut Link<Connection, ()>, now: Instant, connection: &Connection, ending: Ending) {
    link.dialled(now, 1.0, Ok(Rc::clone(connection)));
    connection.is_closed.set(true);
    link.ended(now, 1.0, connection, ending, broken());
}

#[test]
fn a_connection_that_ends_without_an_answer_counts_as_a_failed_dial() {
    let next = next(|link, now, [one, _]| ends(link, now, one, Ending::Broken));
    assert!(matches!(next, Next::Wait(_)), "{next:?}");
}

/// There was no request on it.
#[test]
fn one_that_is_found_ended_does_too() {
    let next = next(|link, now, [one, _]| {
        link.dialled(now, 1.0, Ok(Rc::clone(one)));
        one.is_closed.set(true);
    });
    assert!(matches!(next, Next::Bury(_)), "{next:?}");
}

#[test]
fn one_that_has_answered_does_not() {
    let next = next(|link, now, [one, _]| {
        one.has_answered.set(true);
        ends(link, now, one, Ending::Broken);
    });
    assert!(matches!(next, Next::Dial), "{next:?}");
}

#[test]
fn an_announced_end_is_worth_one_dial_at_once() {
    let once = next(|link, now, [one, _]| {
        ends(link, now, one, Ending::Announced);
        // Reported by another request that was on it.
        link.ended(now, 1.0, one, Ending::Announced, broken());
    });
    assert!(matches!(once, Next::Dial), "{once:?}");
    let twice = next(|link, now, [one, two]| {
        ends(link, now, one, Ending::Announced);
        ends(link, now, two, Ending::Announced);
    });
    assert!(matches!(twice, Next::Wait(_)), "{twice:?}");
    let answered = next(|link, now, [one, two]| {
        ends(link, now, one, Ending::Announced);
        one.has_answered.set(true);
        ends(link, now, two, Ending::Announced);
    });
    assert!(matches!(answered, Next::Dial), "{answered:?}");
}

/// However long the server has been unreachable: what a request gives up is lost.
#[test]
fn a_request_waits_for_a_dial_within_its_deadline() {
    let mut link = Link::<Connection, ()>::new(0);
    let mut now = Instant::now();
    for _ in 0..20 {
        // Half the default timeout of an export
        let deadline = Some(now + Duration::from_secs(5));
        assert!(matches!(link.acquire(now, deadline), Next::Dial));
        link.dialled(now, 1.0, Err(broken()));
        let next = link.acquire(now, deadline);
        let Next::Wait(until) = next else { panic!("it does not wait: {next:?}") };
        let late = Some(until - Duration::from_millis(1));
        assert!(matches!(link.acquire(now, late), Next::Fail(..)));
        now = until;
    }
}
