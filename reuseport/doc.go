// Package reuseport shares one port between processes.
package reuseport
