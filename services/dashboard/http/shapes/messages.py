"""The shapes of answers about messages and questions."""

from services.dashboard.http.shapes.rows import MessageRow, QuestionRow
from services.dashboard.http.shapes.shape import Shape, Text


class Sent(Shape):
    """The number of the message that was sent."""

    id: int


class WholeBody(Shape):
    """The whole body of a message."""

    body: Text


class WholeQuestion(Shape):
    """The whole text of a question."""

    question: Text


class Messages(Shape):
    """The newest messages of an agent."""

    messages: list[MessageRow]


class History(Messages):
    """Messages that were looked for, oldest first, and whether there may be more."""

    more: bool


class Questions(Shape):
    """The newest questions of an agent."""

    questions: list[QuestionRow]
