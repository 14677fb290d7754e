-- Packs have another layout: those that are there cannot be read, and are due at once.

UPDATE response_pack SET this_update = 0, next_update = 0;
