"""Fills a fresh Tryton database: company, euro, chart of accounts, payment term, products with stock, one RPC user.

Prices here carry no tax: the shop is the one that knows the tax of an order, and the sale repeats the gross amount that the
customer paid, so that both ends can be compared to the cent. Prints one JSON line: {"company": N, "products": N}.
"""

import csv
import datetime as dt
import json
import os
import sys
from decimal import Decimal

from proteus import Model, Wizard
from proteus import config as proteus_config

config_file, database, products_csv = sys.argv[1:]
login, password = os.environ['TRYTON_USER'], os.environ['TRYTON_PASSWORD']

# These come from the shop for the first time, so that a connector has something to create.
UNKNOWN_TO_THE_ERP = {'PP-4', 'VD-500', 'GT-GR'}

proteus = proteus_config.set_trytond(database=database, user='admin', config_file=config_file)


def company_with_euro():
    Currency, Party, Company = Model.get('currency.currency'), Model.get('party.party'), Model.get('company.company')
    euro = Currency(name='Euro', symbol='€', code='EUR', numeric_code='978', digits=2, rounding=Decimal('0.01'))
    euro.rates.new(date=dt.date(2000, 1, 1), rate=Decimal(1))
    euro.save()
    owner = Party(name='Kontor Beispiel GmbH')
    owner.save()
    wizard = Wizard('company.company.config')
    wizard.execute('company')
    wizard.form.party, wizard.form.currency = owner, euro
    wizard.execute('add')
    company, = Company.find([])
    User = Model.get('res.user')
    proteus._context = User.get_preferences(True, {})
    proteus._context['company'] = company.id
    return company


def accounts(company):
    """The generic chart of Tryton itself; returns the category that gives products their accounts."""
    Template, Account = Model.get('account.account.template'), Model.get('account.account')
    root, = Template.find([('parent', '=', None)])
    chart = Wizard('account.create_chart')
    chart.execute('account')
    chart.form.account_template, chart.form.company = root, company
    chart.execute('create_account')

    def first(kind, party_required):
        return Account.find([
            (f'type.{kind}', '=', True),
            ('party_required', '=', party_required),
            ('company', '=', company.id),
            # Parents in the chart are closed: nothing may be booked on them.
            ('closed', '!=', True),
            ], order=[('code', 'ASC')])[0]

    receivable, payable = first('receivable', True), first('payable', True)
    revenue, expense = first('revenue', False), first('expense', False)
    chart.form.account_receivable, chart.form.account_payable = receivable, payable
    chart.execute('create_properties')
    # Lines without a product (shipping, discounts) are booked here.
    configuration = Model.get('account.configuration')(1)
    configuration.default_category_account_revenue = revenue
    configuration.default_category_account_expense = expense
    configuration.save()
    Category = Model.get('product.category')
    category = Category(name='Waren', accounting=True, account_revenue=revenue, account_expense=expense)
    category.save()
    return category


def payment_term():
    term = Model.get('account.invoice.payment_term')(name='Vorkasse')
    term.lines.new(type='remainder')
    term.save()


def countries():
    Country = Model.get('country.country')
    for code, code3, number, name in (('DE', 'DEU', '276', 'Germany'), ('AT', 'AUT', '040', 'Austria')):
        Country(code=code, code3=code3, code_numeric=number, name=name).save()


def products(category):
    Unit, Template = Model.get('product.uom'), Model.get('product.template')
    unit, = Unit.find([('symbol', '=', 'u')])
    made, name = [], ''
    with open(products_csv, encoding='utf-8', newline='') as file:
        for row in csv.DictReader(file):
            name = row['name'] or name
            if row['sku'] in UNKNOWN_TO_THE_ERP:
                continue
            template = Template(name=' '.join(filter(None, (name, row['optionValues']))))
            template.default_uom, template.type, template.salable = unit, 'goods', True
            template.list_price, template.account_category = Decimal(row['price']), category
            product, = template.products
            product.suffix_code = row['sku']
            template.save()
            made.append((template.products[0], int(row['stockOnHand'])))
    return made


def stock(made):
    """Differs from what the shop believes, so that a sync has something to correct."""
    Location, Inventory = Model.get('stock.location'), Model.get('stock.inventory')
    storage, = Location.find([('code', '=', 'STO')])
    inventory = Inventory(location=storage)
    for number, (product, shop_quantity) in enumerate(made):
        line = inventory.lines.new(product=product)
        line.quantity = shop_quantity + 20 + number
    inventory.click('confirm')


def rpc_user(company):
    """A user of its own for the connector, with the rights of a sales clerk who also keeps parties and products."""
    User, Group = Model.get('res.user'), Model.get('res.group')
    user = User(name='Connector', login=login, password=password)
    for name in ('Sales', 'Stock', 'Product Administration', 'Account Product Administration'):
        group, = Group.find([('name', '=', name)])
        user.groups.append(group)
    user.companies.append(company)
    user.company = company
    user.save()


company = company_with_euro()
category = accounts(company)
payment_term()
countries()
made = products(category)
stock(made)
rpc_user(company)
print(json.dumps({'company': company.id, 'products': len(made)}))
