# An order of the shop (`orders` of stecker/vendure) as a sale of the ERP (`sales` of stecker/tryton).
# Shipping and surcharges become lines without a product. Discounts are in the lines' totals already.

def address:
  { name: (.company // .name),
    street: ([.street, .street2] | map(select(. != null)) | join("\n")),
    postal_code, city, country: .country_code };

def plain($text): { description: $text, quantity: 1, total: .total };

if .state == "Cancelled" then error("order \(.code) was cancelled in the shop; cancel its sale in the ERP, if there is one")
elif .customer == null then error("order \(.code) has no customer")
else
  { reference: .code,
    date: .placed_at,
    currency,
    total,
    description: (if .coupon_codes == [] then null else "Coupon " + (.coupon_codes | join(", ")) end),
    party: { code: "V-\(.customer.id)", name: .customer.name, email: .customer.email, phone: .customer.phone },
    invoice_address: ((.billing_address // .shipping_address // {}) | address),
    shipment_address: ((.shipping_address // .billing_address // {}) | address),
    lines: (
      [.lines[] | if .quantity > 0 then { sku, description: .name, quantity, total } else plain(.name) end]
      + [.surcharges[] | plain(.description)]
      + [.shipping[] | select(.total != "0.00") | plain(.name)]) }
end
