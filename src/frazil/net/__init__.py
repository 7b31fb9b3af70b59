"""The network: addresses that the user named, asked politely, with secrets that go to their own servers alone."""
