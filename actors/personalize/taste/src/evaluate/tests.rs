//! The protocol by hand, on a small shop of habits.

use std::fmt::Write;

use super::*;

/// Twenty shoppers who each buy their own one of ten items every week.
fn habits() -> String {
    let mut text = "user,basket,item,ts,category\n".to_owned();
    for week in 0..40 {
        for user in 0..20 {
            let at = 1_500_000_000 + week * 604_800 + user * 3_600;
            let _ = writeln!(text, "u{user},b{week}-{user},i{},{at},milk", user % 10);
        }
    }
    text
}

#[test]
fn habits_are_found_where_popularity_finds_none() {
    let purchases = Purchases::parse(&habits()).expect("a table");
    let report = evaluate(&purchases, None, &Options { every: 1, next_every: 1, ..Options::default() });
    let [system, popularity] = report.page;
    assert_eq!((report.rows, system.queries(), popularity.queries()), (800, 160, 160));
    assert!(system.ndcg() > 0.99 && popularity.ndcg() < 0.6, "{} {}", system.ndcg(), popularity.ndcg());
    assert_eq!(report.repeat[0].queries(), 160);
    assert!(report.next[0].ndcg() > 0.99, "{}", report.next[0].ndcg());
}

#[test]
fn pages_are_drawn_by_hash_and_shoppers_too() {
    let purchases = Purchases::parse(&habits()).expect("a table");
    let queries = |every, users_mod| {
        let report = evaluate(&purchases, None, &Options { every, users_mod, ..Options::default() });
        (report.rows, report.page[0].queries())
    };
    let kept = (0..20).filter(|user| tie(&format!("u{user}"), "").is_multiple_of(2)).count();
    assert_eq!(queries(1, 2).0, kept * 40);
    let half = queries(2, 1).1;
    assert!((40..120).contains(&half), "{half}");
}

#[test]
fn an_evaluation_is_exact() {
    let purchases = Purchases::parse(&habits()).expect("a table");
    let options = Options { every: 1, ..Options::default() };
    assert_eq!(evaluate(&purchases, None, &options), evaluate(&purchases, None, &options));
}
