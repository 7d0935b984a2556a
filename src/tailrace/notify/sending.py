"""Send what was made and is due, try again what was not taken, and give up in the end.

A mail is sent at least once: a process that dies between the server's answer and the note of it
sends it again, under the same message ID. The other order would lose mails.
"""

from __future__ import annotations

import structlog

from tailrace.clock import MICROS, Clock
from tailrace.errors import MailServerTrouble
from tailrace.mailbox import is_mailbox
from tailrace.notify.message import message_of, outgoing, unnamed
from tailrace.notify.smtp import Refused, Session, open_session
from tailrace.settings import SmtpSettings
from tailrace.state.mails import Mail, Mails, Outcome

log = structlog.get_logger(__name__)

# A server that is down for a night must not cost a mail; what is older helps nobody.
DELAYS_SECONDS = (60, 300, 900, 1800, 3600)
GIVE_UP_MICROS = 3 * 24 * 3600 * MICROS

# Messages in one connection, which takes a second or two; more wait for the next turn.
MAILS_MAX = 50

# So many mails' troubles in a row say that the server is out of order, not the mails.
_TROUBLES_MAX = 5


def send_due(mails: Mails, settings: SmtpSettings, *, clock: Clock, machine: Clock) -> int:
    """Send the mails whose turn it is; return how many addresses got one.

    `clock` is the service's, by which a mail's age is told, `machine` decides whose turn it is.
    Without a mail server nothing is sent and nothing given up: mails are kept.
    """
    if not settings.host:
        return 0
    now = machine.now_micros()
    mails.wake_beyond(now + DELAYS_SECONDS[-1] * MICROS)
    due = [_without_old(mails, one, clock, machine) for one in mails.due(now, MAILS_MAX)]
    waiting = [one for one in due if _addresses(one, now)]
    if not waiting:
        return 0
    try:
        with open_session(settings) as session:
            return _send_all(mails, settings, session, waiting, machine)
    except MailServerTrouble as trouble:
        log.warning("mail_server_trouble", step=trouble.step, why=str(trouble))
        for one in waiting:
            _again(mails, one, str(trouble), machine)
        return 0


def _send_all(
    mails: Mails, settings: SmtpSettings, session: Session, waiting: list[Mail], machine: Clock
) -> int:
    sent = troubles = 0
    for position, one in enumerate(waiting):
        addresses = _refuse_unnamed(mails, one, _addresses(one, machine.now_micros()))
        if not addresses:
            continue
        try:
            refused = session.send(message_of(outgoing(one), settings.sender), addresses)
        except MailServerTrouble as trouble:
            troubles += 1
            log.warning("mail_not_taken", mail=one.id, step=trouble.step, why=str(trouble))
            if trouble.step == "message" and trouble.for_good:
                # It is the message that is refused; a sender or an account can be mended.
                _refuse(mails, one, addresses, str(trouble))
            else:
                _again(mails, one, str(trouble), machine)
            if troubles >= _TROUBLES_MAX or not _can_go_on(session):
                for left in waiting[position + 1 :]:
                    _again(mails, left, str(trouble), machine)
                return sent
            continue
        troubles = 0
        mails.tried(one.id, _outcomes(one, addresses, refused, machine))
        sent += len(addresses) - len(refused)
        log.info("mail_sent", mail=one.id, kind=one.kind, refused=len(refused))
    return sent


def _refuse_unnamed(mails: Mails, one: Mail, addresses: list[str]) -> list[str]:
    """Refuse for good the addresses that no message can name; return the others."""
    named = [address for address in addresses if is_mailbox(address)]
    for address in addresses:
        if address not in named:
            log.error("mail_refused", mail=one.id, address=address, answer="no mail can name it")
            _refuse(mails, one, [address], str(unnamed(address)))
    return named


def _can_go_on(session: Session) -> bool:
    try:
        session.reset()
    except MailServerTrouble:
        return False
    return True


def _without_old(mails: Mails, one: Mail, clock: Clock, machine: Clock) -> Mail:
    """Give up the waiting addresses of a mail that is too old; return the mail as it is then."""
    if clock.now_micros() - one.made_micros < GIVE_UP_MICROS:
        return one
    waiting = [found for found in one.recipients if found.state == "waiting"]
    log.error("mail_given_up", mail=one.id, addresses=len(waiting))
    mails.tried(
        one.id,
        [
            Outcome(found.address, "given up", found.error or "No mail server was set in its time.")
            for found in waiting
        ],
    )
    return mails.get(one.id)


def _addresses(one: Mail, now: int) -> list[str]:
    return [
        found.address
        for found in one.recipients
        if found.state == "waiting" and found.due_micros is not None and found.due_micros <= now
    ]


def _outcomes(
    one: Mail, addresses: list[str], refused: tuple[Refused, ...], machine: Clock
) -> list[Outcome]:
    by_address = {found.address: found for found in refused}
    outcomes = []
    for address in addresses:
        found = by_address.get(address)
        if found is None:
            outcomes.append(Outcome(address, "sent"))
        elif found.for_good:
            log.error("mail_refused", mail=one.id, address=address, answer=found.answer)
            outcomes.append(Outcome(address, "refused", found.answer))
        else:
            outcomes.append(_later(one, address, found.answer, machine))
    return outcomes


def _again(mails: Mails, one: Mail, error: str, machine: Clock) -> None:
    addresses = _addresses(one, machine.now_micros())
    mails.tried(one.id, [_later(one, address, error, machine) for address in addresses])


def _refuse(mails: Mails, one: Mail, addresses: list[str], error: str) -> None:
    mails.tried(one.id, [Outcome(address, "refused", error) for address in addresses])


def _later(one: Mail, address: str, error: str, machine: Clock) -> Outcome:
    attempts = next(found.attempts for found in one.recipients if found.address == address)
    delay = DELAYS_SECONDS[min(attempts, len(DELAYS_SECONDS) - 1)]
    return Outcome(address, "waiting", error, machine.now_micros() + delay * MICROS)
