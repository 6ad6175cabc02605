package peer

import (
	_ "github.com/fsnotify/fsnotify"
	_ "github.com/stretchr/testify/assert"
	_ "github.com/stretchr/testify/require"
)
