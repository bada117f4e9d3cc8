"""What may go wrong between an operator's command and the servers, told in one line without a traceback or a DSN."""

from collections.abc import Callable
from typing import TypeVar

import aiohttp
import asyncpg
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaError,
    TopicAuthorizationFailedError,
)

from services.commands.context import fail
from services.propagator.handlers import UnreadableError
from services.propagator.keys import KeyServiceError
from services.propagator.reconcile.ledger import LedgerError
from services.propagator.replay.offsets import TopicMissingError
from services.propagator.replay.reader import SourceLostError

T = TypeVar("T")
AUTHORIZATION_ERRORS = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)


def told(work: Callable[[], T]) -> T:
    """Return what `work` returns; end the command with a message for what an outage or a missing part raises."""
    try:
        return work()
    except KafkaError as error:
        fail(_of_kafka(error))
    except TopicMissingError as error:
        fail(f"there is no topic {error}; create it, or check DONGUI_TOPIC_PREFIX")
    except SourceLostError as error:
        fail(f"the broker no longer gives {error}; plan again")
    except KeyServiceError as error:
        fail(f"the key service gave no answer ({error.code}); nothing was lost, run the same command again")
    except LedgerError as error:
        fail(f"the consent service gave no answer ({error.code}); nothing is half done, run the same command again")
    except UnreadableError as error:
        fail(f"a record of the ledger cannot be read ({error.code}); nothing was changed")
    except aiohttp.ClientError as error:
        fail(f"the consent service does not answer ({type(error).__name__}); is it running?")
    except asyncpg.InsufficientPrivilegeError:
        fail("the database refuses: this command needs more rights than its DSN has")
    except (asyncpg.PostgresError, OSError) as error:
        fail(f"a database does not answer or refuses ({type(error).__name__})")


def _of_kafka(error: KafkaError) -> str:
    if isinstance(error, AUTHORIZATION_ERRORS):
        return f"Kafka refuses this login ({type(error).__name__}); docs/wire.md says what each may do"
    return f"Kafka does not answer or refuses ({type(error).__name__}); is it running?"
