//! Much mail at one moment.

use super::*;

impl World {
    /// Many short messages for one mailbox at one moment, or some long ones, as from many posters: by one they take too
    /// many turns.
    pub(super) fn flood(&mut self) {
        let (identity, id) = self.terms.recipients[self.stage.random.below(self.terms.recipients.len())].clone();
        let id = RecipientId::parse(id.as_bytes()).expect("the id of an identity");
        let seconds = 1 + self.stage.random.next() % self.terms.max_ttl_seconds;
        let (most, longest) = if self.is_crowded {
            (1_200, self.stage.random.pick(&[0, 8, 300, 300]))
        } else {
            (8, self.terms.max_message_bytes)
        };
        let now = self.mail_now();
        let (count, mut wake) = (self.stage.random.within(1, most), Vec::new());
        for _ in 0..count {
            let retention = if self.stage.random.once_in(10) {
                Some(Retention::LiveOnly)
            } else {
                Some(Retention::Seconds(u32::try_from(seconds).unwrap_or(u32::MAX)))
            };
            let length = self.stage.random.below(longest + 1);
            let message = self.stage.model.write(identity, length, &mut self.stage.random);
            let body = self.stage.model.body(message);
            match self.shared.store.post(&id, body, retention, now, &mut wake) {
                Ok(ttl_seconds) => {
                    self.shared.counters[0].posted.add(1);
                    self.stage.model.accept(message, ttl_seconds.into(), self.stage.now);
                }
                Err(Refusal::MailboxFull) => self.stage.model.refuse(message, Refused::MailboxFull, self.stage.now),
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::RelayFull);
                    self.stage.model.refuse(message, Refused::RelayFull, self.stage.now);
                }
            }
        }
        if count > MESSAGES_PER_TAKE && !wake.is_empty() {
            saw(Sight::FloodToLiveSession);
        }
        self.notify(&mut wake);
    }
}
