//! Who is held back, and above all who is not.

use proptest::prelude::*;

use super::super::tests::settings;
use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn name(text: &str) -> ClaimedName {
    ClaimedName::new(text).expect("short")
}

fn user(text: &str) -> UserName {
    text.parse().expect("a name")
}

const HERE: &str = "192.0.2.7";
const THERE: &str = "198.51.100.1";

struct Scene {
    penalties: Penalties,
    now: Instant,
}

impl Scene {
    fn new() -> Scene {
        Scene { penalties: Penalties::new(&settings()), now: Instant::now() }
    }

    fn small() -> Scene {
        let mut settings = settings();
        settings.penalties.most = 100;
        Scene { penalties: Penalties::new(&settings), now: Instant::now() }
    }

    fn fails(&mut self, who: &str, from: &str) -> Vec<String> {
        let felt = self.penalties.charge(Offence::Failed, address(from), Some(&name(who)), self.now);
        felt.iter().map(|penalty| penalty.whom.to_string()).collect()
    }

    fn does(&mut self, offence: Offence, from: &str) {
        self.penalties.charge(offence, address(from), None, self.now);
    }

    fn is_turned_away(&self, from: &str) -> bool {
        self.penalties.at_the_door(address(from), self.now).is_some()
    }

    fn may_guess(&self, who: &str, from: &str) -> bool {
        self.penalties.guessing(address(from), &name(who), self.now).is_none()
    }

    fn logs_in(&mut self, who: &str, from: &str) {
        self.penalties.logged_in(address(from), &user(who), self.now);
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn three_failures_in_a_row_turn_a_source_away_until_all_has_passed() {
    let mut scene = Scene::new();
    assert!(scene.fails("bob", HERE).is_empty() && scene.fails("eve", HERE).is_empty());
    assert!(!scene.is_turned_away(HERE));
    assert_eq!(scene.fails("kim", HERE), [HERE]);
    assert!(scene.is_turned_away(HERE) && !scene.is_turned_away(THERE));
    scene.later(14);
    assert!(scene.is_turned_away(HERE), "less than the least is outstanding, and it is felt still");
    scene.later(1);
    assert!(!scene.is_turned_away(HERE));
}

#[test]
fn slow_failures_pass_by_themselves() {
    let mut scene = Scene::new();
    for _ in 0..1000 {
        assert!(scene.fails("bob", HERE).is_empty());
        scene.later(5);
    }
}

#[test]
fn a_thousand_good_logins_are_no_offence_and_none_is_outstanding_for_long() {
    let mut scene = Scene::new();
    for n in 0..1000 {
        scene.logs_in(&format!("ci{}", n % 7), HERE);
    }
    assert!(!scene.is_turned_away(HERE) && scene.may_guess("bob", HERE));
    for _ in 0..10_000 {
        scene.fails("bob", HERE);
    }
    let left = scene.penalties.guessing(address(HERE), &name("bob"), scene.now).expect("a penalty").left;
    assert_eq!(left, Duration::from_secs(600), "however much was done");
}

#[test]
fn one_tenant_behind_an_address_does_not_block_another() {
    let mut scene = Scene::new();
    scene.logs_in("good", HERE);
    // A job that tries a wrong password again and again, for an hour.
    for _ in 0..3600 {
        if scene.may_guess("bad", HERE) {
            scene.fails("bad", HERE);
        }
        scene.later(1);
        assert!(!scene.is_turned_away(HERE), "the address is turned away");
        assert!(scene.may_guess("good", HERE), "who logged in there is held back");
        assert!(scene.may_guess("new", HERE), "who never logged in there is held back");
    }
    for _ in 0..4 {
        scene.fails("bad", HERE);
    }
    assert!(!scene.may_guess("bad", HERE), "nobody is held back");
}

#[test]
fn a_spray_over_names_from_a_known_address_is_stopped_there_for_names_that_never_came() {
    let mut scene = Scene::new();
    scene.logs_in("good", HERE);
    for n in 0..3 {
        scene.fails(&format!("user{n}"), HERE);
    }
    assert!(!scene.is_turned_away(HERE));
    assert!(!scene.may_guess("user9", HERE) && scene.may_guess("good", HERE));
    assert!(scene.may_guess("user9", THERE));
}

#[test]
fn a_name_that_is_tried_from_everywhere_is_held_back_where_it_never_came() {
    let mut scene = Scene::new();
    scene.logs_in("bob", HERE);
    let felt: Vec<String> = (0..12).flat_map(|n| scene.fails("bob", &format!("203.0.113.{n}"))).collect();
    assert_eq!(felt, ["bob"]);
    assert!(!scene.may_guess("bob", THERE) && scene.may_guess("eve", THERE));
    assert!(scene.may_guess("bob", HERE), "its owner is locked out at home");
    assert!(!scene.is_turned_away(THERE));
}

#[test]
fn taking_up_room_is_an_offence_of_strangers() {
    let mut scene = Scene::new();
    for _ in 0..14 {
        scene.does(Offence::NoAttempt, HERE);
    }
    assert!(!scene.is_turned_away(HERE), "a monitoring system that looks in is no attack");
    scene.does(Offence::NoAttempt, HERE);
    assert!(scene.is_turned_away(HERE));
    scene.logs_in("bob", THERE);
    for _ in 0..1000 {
        scene.does(Offence::NoAttempt, THERE);
        scene.does(Offence::Grace, THERE);
    }
    assert!(!scene.is_turned_away(THERE) && scene.may_guess("eve", THERE));
}

#[test]
fn a_crash_counts_wherever_it_comes_from() {
    let mut scene = Scene::new();
    scene.logs_in("bob", HERE);
    scene.does(Offence::Crash, HERE);
    assert!(scene.is_turned_away(HERE) && !scene.is_turned_away(THERE));
    scene.later(90);
    assert!(!scene.is_turned_away(HERE));
}

#[test]
fn an_exempt_source_is_never_held_back() {
    let mut scene = Scene::new();
    for _ in 0..100 {
        scene.fails("bob", "10.1.2.3");
        scene.does(Offence::Crash, "::ffff:10.1.2.3");
    }
    assert!(!scene.is_turned_away("10.1.2.3") && scene.may_guess("bob", "10.1.2.3") && scene.may_guess("bob", THERE));
}

#[test]
fn a_source_is_one_however_its_address_is_written_and_turned() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.fails("bob", &format!("::ffff:{HERE}"));
    }
    assert!(scene.is_turned_away(HERE));
    for n in 0..3 {
        scene.fails(&format!("user{n}"), &format!("2001:db8:1:2:{n}:{n}::{n}"));
    }
    assert!(scene.is_turned_away("2001:db8:1:2:ffff::1") && !scene.is_turned_away("2001:db8:1:3::1"));
}

#[test]
fn impossible_names_count_for_their_source_alone() {
    let mut scene = Scene::new();
    for who in ["", "../bob", "Bob"] {
        scene.fails(who, HERE);
    }
    assert!(scene.is_turned_away(HERE));
    assert_eq!(scene.penalties.names.len() + scene.penalties.pairs.len(), 0);
}

#[test]
fn a_flood_of_names_or_sources_does_not_make_room_by_forgetting_those_held_back() {
    let mut scene = Scene::small();
    // From a known address, so that only the name is held back there.
    scene.logs_in("good", THERE);
    for _ in 0..12 {
        scene.fails("victim", HERE);
    }
    for _ in 0..4 {
        scene.fails("insider", THERE);
    }
    for n in 0..5000_u32 {
        scene.fails(&format!("flood{n}"), &format!("10.{}.{}.1", n / 250, n % 250).replace("10.", "11."));
        scene.fails(&format!("again{n}"), THERE);
    }
    assert!(scene.is_turned_away(HERE), "a source that is held back was forgotten");
    assert!(!scene.may_guess("victim", "203.0.113.9"), "a name that is held back was forgotten");
    assert!(!scene.may_guess("insider", THERE), "a name held back there was forgotten");
    let kept = [scene.penalties.sources.len(), scene.penalties.names.len(), scene.penalties.pairs.len()];
    assert!(kept.iter().all(|kept| *kept <= 100), "{kept:?}");
}

#[test]
fn what_an_operator_forgives_is_forgiven() {
    let mut scene = Scene::new();
    for _ in 0..12 {
        scene.fails("bob", HERE);
    }
    scene.penalties.forgive_sources("192.0.2.0/24".parse().expect("a network"));
    assert!(!scene.is_turned_away(HERE) && !scene.may_guess("bob", HERE));
    scene.penalties.forgive_name(&user("bob"));
    assert!(scene.may_guess("bob", HERE));
}

proptest! {
    /// Whatever happens: nobody is held back for longer than the longest, nor after it; and nothing that is done at one
    /// source turns another away.
    #[test]
    fn a_penalty_ends_and_stays_where_it_belongs(steps in prop::collection::vec((0_u8..6, 0_u8..4, 0_u8..3, 0_u64..20), 1..150)) {
        let mut scene = Scene::new();
        let offences =
            [Offence::Failed, Offence::UnknownUser, Offence::NoAttempt, Offence::Grace, Offence::Crash, Offence::Refused];
        for (offence, who, place, later) in steps {
            let from = format!("192.0.2.{place}");
            let who = name(&format!("user{who}"));
            scene.penalties.charge(offences[usize::from(offence)], address(&from), Some(&who), scene.now);
            let held = [scene.penalties.at_the_door(address(&from), scene.now), scene.penalties.guessing(address(&from), &who, scene.now)];
            for penalty in held.into_iter().flatten() {
                prop_assert!(penalty.left <= Duration::from_secs(600));
            }
            prop_assert!(!scene.is_turned_away(THERE));
            scene.later(later);
        }
        scene.later(600);
        for place in 0..3 {
            let from = format!("192.0.2.{place}");
            prop_assert!(!scene.is_turned_away(&from) && scene.may_guess("user1", &from));
        }
    }
}
