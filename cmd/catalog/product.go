package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxID    = 1<<53 - 1           // what every reader of JSON holds exactly
	maxPrice = 1_000_000_000 * 100 // cents
	maxName  = 200                 // characters
	maxBody  = 8 << 10             // bytes of a PUT
)

// product is a row. Its price is a whole number of cents, so that it is exact everywhere.
type product struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Price   int64  `json:"price"`
	Version int64  `json:"version"`
}

// fieldError tells what is wrong with which field of a request.
type fieldError struct {
	Field string `json:"field"`
	Text  string `json:"error"`
}

func (e *fieldError) Error() string { return e.Text }

func wrong(field, format string, args ...any) error {
	return &fieldError{field, field + ": " + fmt.Sprintf(format, args...)}
}

// readProduct reads the body of a PUT: all four fields, and nothing else.
func readProduct(body io.Reader, id int64) (product, error) {
	var in struct {
		ID      *int64  `json:"id"`
		Name    *string `json:"name"`
		Price   *int64  `json:"price"`
		Version *int64  `json:"version"`
	}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		return product{}, explain(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return product{}, wrong("body", "there is something after the product")
	}
	for _, field := range []struct {
		name    string
		missing bool
	}{{"id", in.ID == nil}, {"name", in.Name == nil}, {"price", in.Price == nil}, {"version", in.Version == nil}} {
		if field.missing {
			return product{}, wrong(field.name, "is missing")
		}
	}
	p := product{*in.ID, *in.Name, *in.Price, *in.Version}
	return p, p.check(id)
}

// explain tells what is wrong in the words of the request.
func explain(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && e.Field != "" {
		kind := "a whole number"
		if e.Field == "name" {
			kind = "a string"
		}
		return wrong(e.Field, "want %s, not %s", kind, e.Value)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok { // it has no type
		return wrong(strings.Trim(field, `"`), "there is no such field; a product has id, name, price and version")
	}
	return wrong("body", `want JSON as {"id":7,"name":"...","price":1999,"version":3}: %v`, err)
}

func (p product) check(id int64) error {
	switch {
	case p.ID != id:
		return wrong("id", "is %d, and that of the address is %d", p.ID, id)
	case strings.TrimSpace(p.Name) == "":
		return wrong("name", "is empty")
	case utf8.RuneCountInString(p.Name) > maxName:
		return wrong("name", "has %d characters, and %d is the most", utf8.RuneCountInString(p.Name), maxName)
	case strings.ContainsFunc(p.Name, unicode.IsControl):
		return wrong("name", "has control characters")
	case p.Price < 0 || p.Price > maxPrice:
		return wrong("price", "is %d cents; it must be 0 to %d", p.Price, int64(maxPrice))
	case p.Version < 0 || p.Version >= maxID:
		return wrong("version", "is %d; it is that of the product to change, or 0 to make one", p.Version)
	}
	return nil
}
