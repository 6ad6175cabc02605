package main

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
)

// seedProducts is how many products a new catalogue has.
const seedProducts = 1000

var (
	seedMaterials = []string{"Oak", "Walnut", "Linen", "Wool", "Copper", "Brass", "Cork", "Enamel", "Glass", "Stoneware"}
	seedThings    = []string{"bowl", "lamp", "chair", "shelf", "cup", "tray", "clock", "basket", "stool", "vase"}
	seedSizes     = []string{"small", "medium", "large", "round", "square", "tall", "flat", "folding", "hanging", "heavy"}
)

// seed makes the products, the same ones each time: each name is there once.
func seed(ctx context.Context, tx *sql.Tx) error {
	insert, err := tx.PrepareContext(ctx, "INSERT INTO products (id, name, price, version) VALUES (?, ?, ?, 1)")
	if err != nil {
		return err
	}
	defer insert.Close()
	random := rand.New(rand.NewPCG(1, seedProducts))
	for i := range seedProducts {
		name := fmt.Sprintf("%s %s, %s", seedMaterials[i%10], seedThings[i/10%10], seedSizes[i/100])
		price := 100*(5+random.IntN(295)) + 95
		if _, err := insert.ExecContext(ctx, i+1, name, price); err != nil {
			return err
		}
	}
	return nil
}
