#![allow(clippy::unwrap_used)]
// An identity compares by its options, which never change.
#![allow(clippy::mutable_key_type)]

use std::collections::HashSet;

use super::authority::Authority;
use super::*;

#[test]
fn identities_are_equal_if_everything_that_decides_is() {
    let authority = Authority::new();
    let base = authority.options();
    let vary = |change: &dyn Fn(&mut TlsOptions)| {
        let mut options = base.clone();
        change(&mut options);
        TlsIdentity::build(options).unwrap()
    };
    let same = vary(&|_| {});
    assert_eq!(same, authority.identity());
    let mut set = HashSet::from([authority.identity()]);
    assert!(!set.insert(same));
    let others = [
        vary(&|options| options.server_name = "other.example".into()),
        vary(&|options| options.roots = Authority::new().options().roots),
        vary(&|options| options.verify = false),
        vary(&|options| options.client = Some(authority.client())),
        vary(&|options| options.client = Some(authority.client())),
        vary(&|options| options.protocols = Protocols::H1),
    ];
    for other in others {
        assert!(set.insert(other), "each is its own");
    }
}

#[test]
fn a_setting_that_cannot_work_is_refused_when_it_is_loaded() {
    let authority = Authority::new();
    let build = |change: &dyn Fn(&mut TlsOptions)| {
        let mut options = authority.options();
        change(&mut options);
        TlsIdentity::build(options).expect_err("refused")
    };
    assert!(matches!(build(&|options| options.server_name = "a b".into()), IdentityError::Name(_)));
    assert!(matches!(build(&|options| options.roots = Roots::Pem(Vec::new())), IdentityError::Roots(_)));
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    assert!(matches!(build(&|options| options.roots = Roots::Pem(garbage.clone())), IdentityError::Roots(_)));
    let (one, other) = (authority.client(), authority.client());
    let mixed = ClientCertificate { chain: one.chain.clone(), key: other.key };
    let error = build(&|options| options.client = Some(mixed.clone()));
    assert!(matches!(error, IdentityError::Client(_)), "a key of another certificate: {error}");
    let empty = ClientCertificate { chain: Vec::new(), key: one.key };
    assert!(matches!(build(&|options| options.client = Some(empty.clone())), IdentityError::Client(_)));
}

#[test]
fn an_identity_does_not_show_its_key() {
    let mut options = Authority::new().options();
    options.client = Some(Authority::new().client());
    let shown = format!("{:?}", TlsIdentity::build(options).unwrap());
    assert!(shown.contains("client: true") && !shown.contains("PRIVATE"));
}
