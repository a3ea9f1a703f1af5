"""The site's Flower ClientApp: one line per kind of message. All work is in work.py, all replies in door.py."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client import work
from client.door import answer


class SiteApp(ClientApp):
    """A ClientApp whose own errors, for a message that it has no handler for, leave through the door as well."""

    def __call__(self, message: Message, context: Context) -> Message:
        try:
            return super().__call__(message, context)
        except ValueError:
            return answer(message, context, work.unknown)


app = SiteApp()


@app.query("declare")
def declare(message: Message, context: Context) -> Message:
    return answer(message, context, work.declare)


@app.query("cards")
def cards(message: Message, context: Context) -> Message:
    return answer(message, context, work.cards)


@app.query("crosscheck")
def crosscheck(message: Message, context: Context) -> Message:
    return answer(message, context, work.cross_check)


@app.query("unmask")
def unmask(message: Message, context: Context) -> Message:
    return answer(message, context, work.unmask)


@app.query("close")
def close(message: Message, context: Context) -> Message:
    return answer(message, context, work.close)


@app.query("survey")
def survey(message: Message, context: Context) -> Message:
    return answer(message, context, work.survey)


@app.query("compare")
def compare(message: Message, context: Context) -> Message:
    return answer(message, context, work.compare)


@app.train()
def train(message: Message, context: Context) -> Message:
    return answer(message, context, work.train)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    return answer(message, context, work.evaluate)


@app.query("finish")
def finish(message: Message, context: Context) -> Message:
    return answer(message, context, work.finish)
