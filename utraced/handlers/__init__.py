"""One function per method: parameters and context in, result out; ``context`` says what a handler may use."""
