"""The error that both implementations of the native core raise."""


class Base64Error(ValueError):
    """Text that is not strict Base64.

    Attributes:
        position: index of the first character that no valid text can have there; the length of the text when it
            merely ends too early.
    """

    def __init__(self, position: int) -> None:
        super().__init__(f"not Base64 at position {position}")
        self.position = position

    def __reduce__(self) -> tuple[type["Base64Error"], tuple[int]]:
        return (Base64Error, (self.position,))
